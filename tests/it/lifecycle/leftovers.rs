//! Mounts and anchors: who may have them, and what is left of them.

use super::{Container, mounts, signal};
use crate::common::daemon::{Daemon, supervised};
use crate::common::foreground::Foreground;
use crate::common::{MOUNT, Need, cgprocfs, output, test, times, wait_until};
use libtest_mimic::Trial;
use rustix::process::Signal;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub fn tests() -> Vec<Trial> {
    tests! {
        test(MOUNT) => [
            started_twice_at_once,
            aborted_again_and_again,
            too_many_mounts,
            anchors_removed_under_containers,
            nothing_is_left,
            nothing_is_left_after_a_loss,
            no_more_is_left_each_time,
            what_is_bound_stays,
            views_are_laid_where_somebody_serves,
        ],
        test(&[Need::Root, Need::Fuse, Need::Program("setpriv")]) => [
            readable_by_everybody,
        ],
    }
}

/// Of two daemons that are started at once one serves, and the other says so.
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
        both.swap(ended.unwrap(), 1);
        let [other, ended] = &mut both;
        let said = BufReader::new(ended.process.stderr.take().unwrap());
        let said: Vec<String> = said.lines().map(Result::unwrap).collect();
        assert!(said.len() == 1 && said[0].contains("is served already"), "{said:?}");
        let text = || fs::read_to_string(directory.join("working_set"));
        wait_until("the other serves", || text().is_ok_and(|text| !text.is_empty()));
        assert!(other.process.try_wait().unwrap().is_none());
        assert!(other.stop().success());
        assert_eq!(mounts(&directory), 0);
    }
}

/// What a privileged container can do: its own bind is of the connection of all.
fn abort(daemon: &Daemon) {
    let script = "mount --bind \"$0\" /proc/meminfo && exec umount --force /proc/meminfo";
    let unshare = ["--mount", "--propagation", "slave", "sh", "-c", script];
    output(Command::new("unshare").args(unshare).arg(daemon.live().join("proc/meminfo")));
}

/// A connection that is aborted again and again comes back, each time after a pause.
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
    assert_eq!(daemon.log().matches("Send SIGHUP to mount anyway").count(), 1, "{}", daemon.log());
    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success(), "{}", daemon.log());
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

/// After a clean stop there are as many mounts and files as before.
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

/// So it is after a connection was lost.
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

/// An anchor that a container binds is not taken away.
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

/// As the unit has it done after each start: not over what containers got when the daemon ended.
fn views_are_laid_where_somebody_serves() {
    let mut daemon = Daemon::start();
    let mut container = Container::start(&daemon.meminfo());
    let lay = |daemon: &Daemon| cgprocfs().args(["mount", "--lay"]).arg(daemon.directory()).output().unwrap();
    assert!(lay(&daemon).status.success() && container.has_its_own());
    output(cgprocfs().arg("unmount").arg(daemon.directory()));
    assert!(daemon.wait().success(), "{}", daemon.log());
    let refused = lay(&daemon);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && said.contains("no cgprocfs serves"), "{said}");
    assert!(container.has_the_kernels());
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
