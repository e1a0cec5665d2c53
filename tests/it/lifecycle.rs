//! How the daemon, its supervisor and what they mount come and go: in whatever order, containers have a file to read.

use crate::common::cgroup::Cgroup;
use crate::common::daemon::{Daemon, Foreground, server, supervised};
use crate::common::helper::{self, Running};
use crate::common::load::{self, LIMIT};
use crate::common::{
    MOUNT, Need, cgprocfs, cgprocfs_path, copy_program, finish, host_total, output, patience, test, times,
    wait_until,
};
use cgprocfs::lifecycle::control::{self, Message};
use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub fn tests() -> Vec<Trial> {
    tests! {
        test(MOUNT) => [
            supervised_twice,
            started_twice_at_once,
            program_gone,
            nothing_to_supervise,
            aborted_again_and_again,
            too_many_mounts,
            supervisor_panics,
            everybody_told_to_end,
            supervisor_killed,
            supervisor_killed_and_daemon_told_to_end,
            supervisor_gone_at_once,
            anchors_removed_under_containers,
            nothing_is_left,
            nothing_is_left_after_a_loss,
            no_more_is_left_each_time,
            what_is_bound_stays,
            signals_of_lxcfs,
        ],
        test(&[Need::Root, Need::Fuse, Need::Program("setpriv")]) => [
            readable_by_everybody,
        ],
    }
}

fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), signal).unwrap();
}

/// A container that binds the anchor: what it reads, each time it is asked.
struct Container {
    reader: Running,
    _cgroup: Cgroup,
}

impl Container {
    fn start(anchor: &str) -> Self {
        let cgroup = Cgroup::new().limit(LIMIT);
        let words = helper::command("reopen", &["/proc/meminfo"]);
        Self { reader: load::bound(&[], &cgroup, anchor, &words), _cgroup: cgroup }
    }

    fn end(mut self) {
        drop(self.reader.process.stdin.take());
        crate::common::wait_for(&mut self.reader.process);
    }

    fn has_its_own(&mut self) -> bool {
        self.reader.ask() == load::total()
    }

    fn has_the_kernels(&mut self) -> bool {
        self.reader.ask() == format!("MemTotal:       {:8} kB", host_total())
    }
}

/// How many mounts there are in a directory, itself included.
fn mounts(directory: &Path) -> usize {
    let table = fs::read_to_string("/proc/self/mounts").unwrap();
    let path = directory.to_str().unwrap();
    table.lines().filter(|line| line.split(' ').nth(1).unwrap().starts_with(path)).count()
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

fn started_twice_at_once() {
    for round in 0..times(25) {
        let above = tempfile::tempdir().unwrap();
        let directory = above.path().join("anchors");
        fs::create_dir(&directory).unwrap();
        let start = || {
            let mut command = cgprocfs();
            // Some of them supervised.
            let options = if round % 2 == 0 { &["mount"][..] } else { &["mount", "--supervise"] };
            Foreground::start(command.args(options).arg(&directory).stderr(Stdio::piped()), &directory)
        };
        let mut both = [start(), start()];
        let mut ended = None;
        wait_until("one of them ends", || {
            ended = both.iter_mut().position(|one| one.process.try_wait().unwrap().is_some());
            ended.is_some()
        });
        let ended = ended.unwrap();
        let said = BufReader::new(both[ended].process.stderr.take().unwrap());
        let said: Vec<String> = said.lines().map(Result::unwrap).collect();
        assert!(said.len() == 1 && said[0].contains("is served already"), "{said:?}");
        let text = || fs::read_to_string(directory.join("working_set"));
        wait_until("the other serves", || text().is_ok_and(|text| !text.is_empty()));
        assert!(both[1 - ended].process.try_wait().unwrap().is_none());
        assert!(both[1 - ended].stop().success());
        assert_eq!(mounts(&directory), 0);
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
    wait_until("the container has the kernel's file", || container.has_the_kernels());
    fs::rename(&away, &program).unwrap();
    wait_until("it has its own numbers", || container.has_its_own());
    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success(), "{}", daemon.log());
    assert!(container.has_the_kernels());
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

/// What a privileged container can do: its own bind is of the connection of all.
fn abort(daemon: &Daemon) {
    let script = "mount --bind \"$0\" /proc/meminfo && exec umount --force /proc/meminfo";
    let unshare = ["--mount", "--propagation", "slave", "sh", "-c", script];
    output(Command::new("unshare").args(unshare).arg(daemon.live().join("proc/meminfo")));
}

fn aborted_again_and_again() {
    let mut daemon = supervised();
    let mut container = Container::start(&daemon.meminfo());
    for round in 1..=4 {
        wait_until("the container has its own numbers", || container.has_its_own());
        abort(&daemon);
        wait_until("it was noticed", || daemon.log().matches("aborted by somebody else").count() == round);
        if round > 1 {
            // Nobody mounts as fast as somebody can abort.
            wait_until("it has the kernel's file", || container.has_the_kernels());
            std::thread::sleep(Duration::from_millis(300));
            assert!(container.has_the_kernels());
        }
    }
    // No need to wait for the end of the pause.
    daemon.signal(Signal::HUP);
    wait_until("it has its own numbers again", || container.has_its_own());
    abort(&daemon);
    wait_until("it has the kernel's file", || container.has_the_kernels());
    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success(), "{}", daemon.log());
    assert!(container.has_the_kernels());
}

/// The host's table of mounts is not filled by whoever has the connection be lost.
fn too_many_mounts() {
    let mut daemon = supervised();
    let mut container = Container::start(&daemon.meminfo());
    for _ in 0..64 {
        output(Command::new("mount").args(["--bind", "/proc/meminfo", &daemon.meminfo()]));
    }
    let before = mounts(daemon.directory());
    abort(&daemon);
    wait_until("it says so", || daemon.log().contains("mounts lie on one file"));
    std::thread::sleep(Duration::from_millis(500));
    assert!(container.has_the_kernels());
    assert!(mounts(daemon.directory()) < before + 20, "what is left is covered once");
    assert!(daemon.children().is_empty());
    // An operator may know better.
    daemon.signal(Signal::HUP);
    wait_until("the container has its own numbers", || container.has_its_own());
    // Or there is nobody left who would be left out.
    container.end();
    abort(&daemon);
    wait_until("it serves", || daemon.log().matches("serving").count() == 3);
    assert!(mounts(daemon.directory()) < before);
    assert_eq!(daemon.log().matches("SIGHUP mounts all the same").count(), 1, "{}", daemon.log());
    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success(), "{}", daemon.log());
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

/// What removes the package.
fn anchors_removed_under_containers() {
    for options in [&["--supervise"][..], &[]] {
        let mut daemon = Daemon::start_with(&[], options, &[]);
        let mut containers = vec![Container::start(&daemon.meminfo())];
        if options.is_empty() {
            daemon.signal(Signal::TERM);
            assert!(daemon.wait().success());
            containers.push(Container::start(&daemon.meminfo()));
            daemon = daemon.again();
            containers.push(Container::start(&daemon.meminfo()));
        }
        assert!(containers.iter_mut().all(Container::has_its_own));
        output(cgprocfs().args(["unmount", "--anchors"]).arg(daemon.directory()));
        assert!(containers.iter_mut().all(Container::has_the_kernels));
        assert!(daemon.wait().success(), "{}", daemon.log());
        assert!(containers.iter_mut().all(Container::has_the_kernels));
        assert_eq!(mounts(daemon.directory()), 0);
    }
}

fn nothing_is_left() {
    for options in [&["--supervise"][..], &[]] {
        for end in [Signal::INT, Signal::TERM] {
            let mut daemon = Daemon::start_with(&[], options, &[]);
            // Somebody has a namespace of its own, as services have, and has bound nothing.
            let copy = Command::new("unshare").args(["--mount", "--propagation", "slave", "cat"]).group();
            output(Command::new("cat").arg(daemon.meminfo()));
            daemon.signal(end);
            assert!(daemon.wait().success(), "{}", daemon.log());
            assert_eq!(mounts(daemon.directory()), 0, "{options:?} {end:?}");
            drop(copy);
        }
    }
}

/// A helper that waits for the end of its stdin, ended when it goes out of scope.
struct Waiting(Child);

trait Group {
    fn group(&mut self) -> Waiting;
}

impl Group for Command {
    fn group(&mut self) -> Waiting {
        let child = self.stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(50));
        Waiting(child)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

fn nothing_is_left_after_a_loss() {
    let mut daemon = supervised();
    abort(&daemon);
    wait_until("it serves again", || daemon.log().matches("serving").count() == 2);
    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success(), "{}", daemon.log());
    assert_eq!(mounts(daemon.directory()), 0);
}

/// `unmount` leaves the anchors for containers that are started meanwhile, and so does whoever finds them.
fn no_more_is_left_each_time() {
    let mut daemon = Daemon::start();
    let mut left = Vec::new();
    for _ in 0..3 {
        output(cgprocfs().arg("unmount").arg(daemon.directory()));
        assert!(daemon.wait().success(), "{}", daemon.log());
        left.push(mounts(daemon.directory()));
        assert!(fs::read_to_string(daemon.meminfo()).unwrap().contains("DirectMap"));
        assert_eq!(fs::read_to_string(daemon.working_set()).unwrap(), "");
        daemon = daemon.again();
    }
    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success(), "{}", daemon.log());
    left.push(mounts(daemon.directory()));
    assert!(left[0] > 0 && left.iter().all(|count| *count == left[0]), "{left:?}");
}

fn what_is_bound_stays() {
    let mut daemon = Daemon::start();
    let mut container = Container::start(&daemon.meminfo());
    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success(), "{}", daemon.log());
    assert!(container.has_the_kernels());
    let left = mounts(daemon.directory());
    assert!(left > 0);
    let mut daemon = daemon.again();
    assert!(container.has_its_own());
    container.end();
    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success(), "{}", daemon.log());
    assert_eq!(mounts(daemon.directory()), left, "as many as before it was started again");
}

/// As the unit has it: what is made is nobody else's, but anchors are everybody's.
fn readable_by_everybody() {
    let mut daemon = Daemon::start_by(&["sh", "-c", "umask 077; exec \"$0\" \"$@\""]);
    let container = Container::start(&daemon.meminfo());
    let read = |path: &str| {
        let nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups", "cat"];
        output(Command::new("setpriv").args(nobody).arg(daemon.path(path)))
    };
    for path in ["proc/meminfo", "proc/pressure/cpu", "working_set", "sys/devices/system/cpu/online"] {
        assert!(!read(path).is_empty(), "{path}");
    }
    signal(daemon.pid(), Signal::TERM);
    wait_until("it has ended", || !daemon.is_mounted());
    assert!(read("proc/meminfo").contains("DirectMap"));
    assert_eq!(read("working_set"), "");
    container.end();
    assert!(daemon.wait().success());
}

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
    signal(first, Signal::USR2);
    signal(first, Signal::USR1);
    wait_until("it says so", || daemon.log().matches("does nothing").count() == 2);
    assert_eq!(daemon.children(), [first]);
    daemon.signal(Signal::USR1);
    assert_ne!(server(&daemon, &[first]), first);
    wait_until("it serves", || daemon.log().matches("serving").count() == 2);
    assert!(!fs::read_to_string(daemon.working_set()).unwrap().is_empty());
}
