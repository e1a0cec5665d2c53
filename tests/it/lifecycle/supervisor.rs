//! The supervisor: started twice, in trouble, and gone.

use super::{Container, mounts, signal};
use crate::common::daemon::{Daemon, server, supervised};
use crate::common::foreground::Foreground;
use crate::common::{MOUNT, cgprocfs, cgprocfs_path, copy_program, finish, patience, test, wait_until};
use cgprocfs::lifecycle::control::{self, Message};
use libtest_mimic::Trial;
use rustix::process::Signal;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

pub fn tests() -> Vec<Trial> {
    tests! {
        test(MOUNT) => [
            supervised_twice,
            program_gone,
            no_process_to_be_had,
            nothing_to_supervise,
            supervisor_panics,
            everybody_told_to_end,
            supervisor_killed,
            supervisor_killed_and_daemon_told_to_end,
            killed_with_whoever_keeps_the_connection,
            supervisor_gone_at_once,
            signals_of_lxcfs,
        ],
    }
}

/// Another one ends at once, and the first does not notice.
fn supervised_twice() {
    for options in [&["--supervise"][..], &[]] {
        let daemon = Daemon::start_with(&[], options, &[]);
        let mut container = Container::start(&daemon.meminfo());
        let (before, log) = (mounts(daemon.directory()), daemon.log());
        for again in [&["--supervise"][..], &[]] {
            let start = Instant::now();
            let refused = finish(cgprocfs().arg("mount").args(again).arg(daemon.directory()));
            let said = String::from_utf8(refused.stderr).unwrap();
            assert_eq!(refused.status.code(), Some(1), "{said}");
            assert!(said.contains("is served already") && said.lines().count() == 1, "{said}");
            assert!(start.elapsed() < patience(2), "{:?}", start.elapsed());
            assert!(container.has_its_own());
        }
        assert_eq!((mounts(daemon.directory()), daemon.log()), (before, log));
    }
}

/// As in the middle of an upgrade that takes long.
fn program_gone() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("cgprocfs");
    copy_program(cgprocfs_path(), &program);
    let mut daemon = Daemon::start_program(&program, &["--supervise"]);
    let mut container = Container::start(&daemon.meminfo());
    let away = directory.path().join("away");
    fs::rename(&program, &away).unwrap();
    signal(server(&daemon, &[]), Signal::KILL);
    container.comes_to(&Container::kernels());
    fs::rename(&away, &program).unwrap();
    container.comes_to(&super::load::total());
    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success(), "{}", daemon.log());
    assert!(container.has_the_kernels());
}

/// A host that is out of processes: neither a thread nor a process can be made, or a thread but no process.
fn no_process_to_be_had() {
    for room in [0, 1] {
        let daemon = supervised();
        let mut container = Container::start(&daemon.meminfo());
        let bounded = BoundedTasks::holding(daemon.pid());
        // The thread that listens to the one that is killed ends with it.
        bounded.set(bounded.current() - 1 + room);
        signal(server(&daemon, &[]), Signal::KILL);
        container.comes_to(&Container::kernels());
        assert!(daemon.log().contains("Resource temporarily unavailable"), "{}", daemon.log());
        drop(bounded);
        container.comes_to(&super::load::total());
    }
}

/// A cgroup that bounds how many tasks a process and its children may be. Once it is dropped they are where
/// they were.
struct BoundedTasks {
    directory: PathBuf,
    pid: u32,
}

impl BoundedTasks {
    fn holding(pid: u32) -> Self {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let words = || mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let v1 =
            words().find(|words| words[2] == "cgroup" && words[3].split(',').any(|option| option == "pids"));
        let top = match v1 {
            Some(words) => PathBuf::from(words[1]),
            None => {
                let top =
                    words().find(|words| words[2] == "cgroup2").map(|words| PathBuf::from(words[1])).unwrap();
                fs::write(top.join("cgroup.subtree_control"), "+pids").unwrap();
                top
            }
        };
        let directory = top.join(format!("cgprocfs-test-tasks-{pid}"));
        fs::create_dir(&directory).unwrap();
        let bounded = Self { directory, pid };
        bounded.move_to(&bounded.directory);
        bounded
    }

    fn move_to(&self, cgroup: &Path) {
        fs::write(cgroup.join("cgroup.procs"), self.pid.to_string()).unwrap();
    }

    fn current(&self) -> u32 {
        fs::read_to_string(self.directory.join("pids.current")).unwrap().trim().parse().unwrap()
    }

    fn set(&self, most: u32) {
        fs::write(self.directory.join("pids.max"), most.to_string()).unwrap();
    }
}

impl Drop for BoundedTasks {
    fn drop(&mut self) {
        self.move_to(self.directory.parent().unwrap());
        wait_until("a cgroup can be removed", || fs::remove_dir(&self.directory).is_ok());
    }
}

/// A mistake on the command line is said once, and not tried again.
fn nothing_to_supervise() {
    let dir = tempfile::tempdir().unwrap();
    let failed = finish(cgprocfs().args(["mount", "--supervise", "--takeover"]).arg(dir.path()));
    let said = String::from_utf8(failed.stderr).unwrap();
    assert_eq!(failed.status.code(), Some(1), "{said}");
    assert!(said.contains("no daemon answers at") && said.lines().count() == 1, "{said}");
    assert_eq!(mounts(dir.path()), 0);
}

/// Whatever ends it.
fn supervisor_panics() {
    let faults = tempfile::tempdir().unwrap();
    let path = faults.path().to_str().unwrap();
    let mut daemon = Daemon::start_with(&[], &["--supervise"], &[("CGPROCFS_FAULTS", path)]);
    let mut container = Container::start(&daemon.meminfo());
    fs::write(faults.path().join("panic"), "").unwrap();
    assert!(!daemon.wait().success());
    assert!(container.has_the_kernels());
    wait_until("nothing is mounted", || !daemon.is_mounted());
    fs::remove_file(faults.path().join("panic")).unwrap();
    let _daemon = daemon.again();
    assert!(container.has_its_own());
}

/// As a service manager does it: the daemon leaves to a successor, of which there is none to come.
fn everybody_told_to_end() {
    let mut daemon = Daemon::start();
    let mut container = Container::start(&daemon.meminfo());
    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success());
    let left = mounts(daemon.directory());
    let mut daemon = daemon.again_with(&["--supervise"]);
    assert!(container.has_its_own());
    container.end();
    let child = server(&daemon, &[]);
    signal(child, Signal::TERM);
    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success(), "{}", daemon.log());
    assert_eq!(mounts(daemon.directory()), left);
}

/// A daemon whose supervisor is killed serves on, and can be supervised again.
fn supervisor_killed() {
    let mut daemon = supervised();
    let mut container = Container::start(&daemon.meminfo());
    let orphan = server(&daemon, &[]);
    daemon.signal(Signal::KILL);
    daemon.wait();
    wait_until("the daemon notices", || daemon.log().contains("the supervisor has ended"));
    assert!(container.has_its_own());
    // Nor does anybody start another beside it.
    let refused = finish(cgprocfs().args(["mount", "--supervise"]).arg(daemon.directory()));
    assert_eq!(refused.status.code(), Some(1));
    assert!(container.has_its_own());
    // But it can be supervised again.
    let successor = daemon.taken_over_from_orphan(&["--supervise"]);
    wait_until("the orphan has ended", || !Path::new(&format!("/proc/{orphan}")).exists());
    assert!(container.has_its_own());
    signal(server(&successor, &[]), Signal::KILL);
    assert!(container.has_its_own());
}

/// Before it can have noticed.
fn supervisor_killed_and_daemon_told_to_end() {
    let mut daemon = supervised();
    let mut container = Container::start(&daemon.meminfo());
    let orphan = server(&daemon, &[]);
    daemon.signal(Signal::KILL);
    daemon.wait();
    signal(orphan, Signal::TERM);
    wait_until("the daemon has ended", || !Path::new(&format!("/proc/{orphan}")).exists());
    assert!(container.has_the_kernels());
    assert!(!daemon.is_mounted());
}

/// Nobody has the connection any more, and nobody is left who could be asked: containers have the kernel's
/// files, and what the next daemon lays over them.
fn killed_with_whoever_keeps_the_connection() {
    for options in [&["--supervise"][..], &[]] {
        let mut daemon = Daemon::start_with(&[], options, &[]);
        let mut container = Container::start(&daemon.meminfo());
        assert!(container.has_its_own());
        let servers = if options.is_empty() { Vec::new() } else { vec![server(&daemon, &[])] };
        daemon.signal(Signal::KILL);
        servers.iter().for_each(|&server| signal(server, Signal::KILL));
        daemon.wait();
        wait_until("containers have the kernel's files", || container.has_the_kernels());
        wait_until("it is said", || daemon.log().contains("nobody has kept its connection"));
        let successor = daemon.again();
        assert!(container.has_its_own());
        drop(successor);
    }
}

/// There is nobody who could be given the connection.
fn supervisor_gone_at_once() {
    let above = tempfile::tempdir().unwrap();
    let directory = above.path().join("anchors");
    fs::create_dir(&directory).unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    control::send(&ours, &Message::Nothing).unwrap();
    drop(ours);
    let mut command = cgprocfs();
    let command = command.args(["mount", "--supervised"]).arg(&directory).stdin(OwnedFd::from(theirs));
    let mut daemon = Foreground::start(command.stderr(Stdio::null()), &directory);
    assert_eq!(crate::common::wait_for(&mut daemon.process).code(), Some(1));
    assert_eq!(mounts(&directory), 0);
}

/// SIGUSR1 and SIGUSR2, which lxcfs knows, kill no daemon; to a supervisor SIGUSR1 says to replace its own.
fn signals_of_lxcfs() {
    let mut daemon = Daemon::start();
    for sent in [Signal::USR1, Signal::USR2] {
        daemon.signal(sent);
    }
    wait_until("it says so", || daemon.log().matches("does nothing").count() == 2);
    assert!(!fs::read_to_string(daemon.working_set()).unwrap().is_empty());
    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success(), "{}", daemon.log());

    let daemon = supervised();
    let first = server(&daemon, &[]);
    daemon.signal(Signal::USR2);
    wait_until("it says so", || daemon.log().matches("does nothing").count() == 1);
    signal(first, Signal::USR2);
    signal(first, Signal::USR1);
    wait_until("it says so again", || daemon.log().matches("does nothing").count() == 3);
    assert_eq!(daemon.children(), [first]);
    daemon.signal(Signal::USR1);
    assert_ne!(server(&daemon, &[first]), first);
    wait_until("it serves", || daemon.log().matches("serving").count() == 2);
    assert!(!fs::read_to_string(daemon.working_set()).unwrap().is_empty());
}
