//! What containers see before the daemon starts, after it has ended, and when somebody unmounts.

use super::{connection_of, read};
use crate::common::cgroup::Cgroup;
use crate::common::daemon::Daemon;
use crate::common::foreground::Foreground;
use crate::common::helper::{self};
use crate::common::{MOUNT, Need, cgprocfs, field, output, test, wait_until};
use libtest_mimic::Trial;
use rustix::process::Signal;
use std::fs::{self, File};
use std::io::{Read, Seek};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

pub fn tests() -> Vec<Trial> {
    tests! {
        test(MOUNT) => [
            signals_unmount,
            mount_point_by_a_symbolic_link,
            over_the_daemons_own_meminfo_before_its_start,
            over_the_daemons_own_meminfo_after_its_start,
            unmounted_by_somebody_else,
            unmounted_by_command,
            aborted,
            anchors_follow,
            stopped_while_a_file_is_open,
        ],
        test(&[Need::Root, Need::Fuse, Need::Program("strace")]) => [
            what_was_unmounted_is_left_alone,
        ],
    }
}

/// Signals that end a program unmount, and the daemon ends with success.
fn signals_unmount() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
        let mut daemon = Daemon::start();
        assert!(daemon.is_mounted());
        daemon.signal(signal);
        assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.log());
        assert!(!daemon.is_mounted());
    }
}

/// A mount point may be named by a symbolic link.
fn mount_point_by_a_symbolic_link() {
    let dir = tempfile::tempdir().unwrap();
    let (real, link) = (dir.path().join("real"), dir.path().join("link"));
    fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let mut daemon = Foreground::start(cgprocfs().arg("mount").arg(&link), &real);
    wait_until("it serves", || fs::read(real.join("working_set")).is_ok_and(|text| !text.is_empty()));
    assert!(daemon.stop().success());
    assert!(!read(Path::new("/proc/self/mounts")).contains(real.to_str().unwrap()));
}

/// What a container reads at `path` in the mount namespace of `daemon`, once nothing is cached.
fn read_beside(daemon: &Daemon, container: &Cgroup, path: &str) -> String {
    std::thread::sleep(Duration::from_millis(100));
    let pid = daemon.pid().to_string();
    output(&mut container.command(&["nsenter", "--mount", "--target", &pid, "cat", path]))
}

/// A daemon that would read the host's numbers from a mount would wait for itself, or take a container's for
/// them.
fn over_the_daemons_own_meminfo_before_its_start() {
    let (other, container, large) = (Daemon::start(), Cgroup::new().limit(64), Cgroup::new());
    let script = "mount --bind \"$0\" /proc/meminfo && exec \"$@\"";
    let daemon = Daemon::start_by(&["unshare", "--mount", "sh", "-c", script, &other.meminfo()]);
    for _ in 0..3 {
        let text = read_beside(&daemon, &container, &daemon.meminfo());
        assert_eq!(field(&text, "MemTotal"), 64 << 10);
        let text = read_beside(&daemon, &large, &daemon.meminfo());
        assert_eq!(field(&text, "MemTotal"), crate::common::host_total());
    }
}

/// Nor does it when the view comes to lie there while it serves.
fn over_the_daemons_own_meminfo_after_its_start() {
    let (container, large) = (Cgroup::new().limit(64), Cgroup::new());
    let daemon = Daemon::start_by(&["unshare", "--mount"]);
    let target = daemon.pid().to_string();
    let bind = ["--mount", "--target", &target, "mount", "--bind", &daemon.meminfo(), "/proc/meminfo"];
    output(Command::new("nsenter").args(bind));
    for _ in 0..3 {
        let text = read_beside(&daemon, &container, "/proc/meminfo");
        assert_eq!(field(&text, "MemTotal"), 64 << 10, "the mount is in place");
        let text = read_beside(&daemon, &large, "/proc/meminfo");
        assert_eq!(field(&text, "MemTotal"), crate::common::host_total());
        assert!(field(&text, "MemAvailable") > 128 << 10, "{text}");
    }
}

/// A daemon whose mount somebody else takes away ends.
fn unmounted_by_somebody_else() {
    let mut daemon = Daemon::start();
    // The anchors go with it.
    output(Command::new("umount").arg("--recursive").arg(daemon.path("")));
    assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.log());
    assert!(daemon.log().contains("unmounted by somebody else"), "{}", daemon.log());
}

/// Whoever unmounts the rest at the same time is not to find it busy, as it is while a path below it is
/// looked up.
fn what_was_unmounted_is_left_alone() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let trace = ["strace", "--follow-forks", "--quiet=all", "--trace=%file", "--output"];
    let mut daemon = Daemon::start_by(&[&trace[..], &[log.path().to_str().unwrap()]].concat());
    let started = read(log.path()).len();
    let table = read(Path::new("/proc/self/mounts"));
    let directory = daemon.directory().to_str().unwrap().to_string();
    let views = table.lines().filter_map(|line| line.split_once(" fuse.cgprocfs")?.0.split(' ').nth(1));
    for view in views.filter(|path| path.starts_with(&directory)) {
        output(Command::new("umount").arg(view));
    }
    assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.log());
    let trace = read(log.path());
    let looked_up = trace[started..].lines().filter(|line| line.contains(&format!("{directory}/")));
    assert_eq!(looked_up.collect::<Vec<_>>(), [""; 0]);
}

/// What `unmount` does, while the daemon serves.
fn unmounted_by_command() {
    let mut daemon = Daemon::start();
    let container = Cgroup::new().limit(64);
    let words = helper::command("reopen", &["/proc/meminfo"]);
    let mut reader = crate::common::load::bound(&[], &container, &daemon.meminfo(), &words);
    assert_eq!(reader.ask(), format!("MemTotal:       {:8} kB", 64 << 10));
    output(cgprocfs().arg("unmount").arg(daemon.path("")));
    assert_eq!(reader.ask(), format!("MemTotal:       {:8} kB", crate::common::host_total()));
    assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.log());
    let again = crate::common::finish(cgprocfs().arg("unmount").arg(daemon.path("")));
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
}

/// The connection is given up under a daemon that serves: containers are not left with an error.
fn aborted() {
    let mut daemon = Daemon::start();
    let container = Cgroup::new().limit(64);
    let words = helper::command("reopen", &["/proc/meminfo"]);
    let mut reader = crate::common::load::bound(&[], &container, &daemon.meminfo(), &words);
    assert_eq!(reader.ask(), format!("MemTotal:       {:8} kB", 64 << 10));
    let fusectl = tempfile::tempdir().unwrap();
    output(Command::new("mount").args(["-t", "fusectl", "fusectl"]).arg(fusectl.path()));
    let abort = fusectl.path().join(connection_of(&daemon).to_string()).join("abort");
    let aborted = fs::write(abort, "1");
    output(Command::new("umount").arg(fusectl.path()));
    aborted.unwrap();
    assert_eq!(daemon.wait().code(), Some(1), "{}", daemon.log());
    assert_eq!(reader.ask(), format!("MemTotal:       {:8} kB", crate::common::host_total()));
}

/// A container sees the kernel's own file before the daemon starts and after it has ended, and its own
/// between.
fn anchors_follow() {
    let container = Cgroup::new().limit(64);
    let own = format!("MemTotal:       {:8} kB", 64 << 10);
    let native = format!("MemTotal:       {:8} kB", crate::common::host_total());
    let words = helper::command("reopen", &["/proc/meminfo"]);
    let mut daemon = Daemon::start();
    let start = |daemon: &Daemon| crate::common::load::bound(&[], &container, &daemon.meminfo(), &words);
    let mut readers = vec![start(&daemon)];
    for _ in 0..3 {
        readers.iter_mut().for_each(|reader| assert_eq!(reader.ask(), own));
        daemon.signal(Signal::TERM);
        assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.log());
        readers.push(start(&daemon));
        readers.iter_mut().for_each(|reader| assert_eq!(reader.ask(), native));
        assert_eq!(read(&daemon.path("working_set")), "");
        daemon = daemon.again();
        readers.push(start(&daemon));
    }
    readers.iter_mut().for_each(|reader| assert_eq!(reader.ask(), own));
    // Killed, with nobody to keep the connection.
    daemon.signal(Signal::KILL);
    daemon.wait();
    crate::common::wait_until("containers have the kernel's files", || readers[0].ask() == native);
    let _daemon = daemon.again();
    readers.iter_mut().for_each(|reader| assert_eq!(reader.ask(), own));
}

/// A daemon ends though somebody has a file of its mount open, who gets ENOTCONN then.
fn stopped_while_a_file_is_open() {
    let mut daemon = Daemon::start();
    let mut file = File::open(daemon.path("proc/meminfo")).unwrap();
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.log());
    file.rewind().unwrap();
    assert_eq!(file.read(&mut [0; 10]).unwrap_err().raw_os_error(), Some(libc::ENOTCONN));
}
