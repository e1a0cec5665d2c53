//! What readers cost the daemon, and what does not wait for it.

use super::{connection_of, read};
use crate::common::cgroup::Cgroup;
use crate::common::daemon::Daemon;
use crate::common::helper::start;
use crate::common::{MOUNT, Need, Stopped, test, wait_until};
use libtest_mimic::Trial;
use rustix::process::Signal;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

pub fn tests() -> Vec<Trial> {
    tests! {
        test(MOUNT) => [
            an_idle_daemon_sleeps,
            closing_asks_nobody,
            poll_does_not_wait_for_the_daemon,
        ],
        test(&[Need::Root, Need::Fuse, Need::Speed, Need::Program("strace")]) => [
            cost_in_system_calls,
        ],
    }
}

/// What one more `cat` costs the daemon, counted by strace: 8 calls are FUSE's (OPEN, READ, READ at the
/// end, RELEASE: each received and answered), the others find out who reads.
fn cost_in_system_calls() {
    let (daemon, container) = (Daemon::start(), Cgroup::new().limit(64));
    for (launcher, at_most) in [(&["unshare", "--cgroup"][..], 12), (&["unshare", "--pid", "--fork"], 13)] {
        // One shell whose children are new processes in its namespaces.
        let script = format!(
            "echo ready; while read n; do i=0; while [ $i -lt $n ]; do cat {} > /dev/null; i=$((i+1)); done; echo done; done",
            daemon.meminfo()
        );
        let words: Vec<&str> = launcher.iter().copied().chain(["sh", "-c", &script]).collect();
        let mut shell = start(&mut container.command(&words));
        let mut cats = |count: u32| {
            writeln!(shell.process.stdin.as_mut().unwrap(), "{count}").unwrap();
            shell.stdout.read_exact(&mut [0; 5]).unwrap();
        };
        cats(3);
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut strace = Command::new("strace")
            .args(["-f", "-ttt", "-p", &daemon.pid().to_string(), "-o"])
            .arg(log.path())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let traced = format!("/proc/{}/status", daemon.pid());
        wait_until("strace is attached", || !read(Path::new(&traced)).contains("TracerPid:\t0\n"));
        std::thread::sleep(Duration::from_millis(200));
        let calls = || fs::read_to_string(log.path()).unwrap();
        cats(40);
        std::thread::sleep(Duration::from_millis(100));
        rustix::process::kill_process(
            rustix::process::Pid::from_raw(strace.id().try_into().unwrap()).unwrap(),
            Signal::INT,
        )
        .unwrap();
        strace.wait().unwrap();
        let median = median_cost(&calls());
        assert!(median <= at_most, "{launcher:?}: {median} system calls\n{}", calls());
        println!("{launcher:?}: {median} system calls a cat");
    }
}

/// Splits the trace at each reader's OPEN, which begins with opening its `/proc/PID/cgroup`.
fn median_cost(trace: &str) -> usize {
    let finished =
        |line: &&str| !line.contains("unfinished ...") && line.contains('(') | line.contains("resumed");
    let lines: Vec<&str> = trace.lines().filter(finished).collect();
    let starts: Vec<usize> = lines
        .iter()
        .enumerate()
        .filter(|(_, line)| line.contains("openat") && line.contains("/cgroup\""))
        .map(|(index, _)| index)
        .collect();
    let mut costs: Vec<usize> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(costs.len() >= 30, "only {} cats seen:\n{trace}", costs.len());
    costs.sort_unstable();
    costs[costs.len() / 2]
}

/// With nothing to do none of its threads runs but seldom.
fn an_idle_daemon_sleeps() {
    let daemon = Daemon::start_with(&[], &["--triggers"], &[]);
    std::thread::sleep(Duration::from_secs(2));
    let before = daemon.effort().0;
    std::thread::sleep(Duration::from_secs(10));
    let woken = daemon.effort().0 - before;
    println!("an idle daemon: {woken} wake-ups in 10 s");
    assert!(woken <= 1, "{woken}");
}

/// A reader's close() must not wait for the daemon, not even for the first one ever.
fn closing_asks_nobody() {
    let daemon = Daemon::start();
    let mut file = File::open(daemon.path("proc/meminfo")).unwrap();
    file.read_to_string(&mut String::new()).unwrap();
    let connection = connection_of(&daemon);
    let stopped = Stopped::new(daemon.pid());
    let closed = std::thread::spawn(move || drop(file));
    let deadline = std::time::Instant::now() + Duration::from_secs(3);
    while !closed.is_finished() && std::time::Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    let finished = closed.is_finished();
    drop(stopped);
    assert!(finished, "close() of a file on connection {connection} waited for a stopped daemon");
    closed.join().unwrap();
}

/// Of a file that can always be read the kernel knows that, once it was told, and a daemon that is stopped is
/// not asked.
fn poll_does_not_wait_for_the_daemon() {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let daemon = Daemon::start();
    let file = File::open(daemon.meminfo()).unwrap();
    let ready = move || {
        let mut polled = [PollFd::new(file.as_fd(), PollFlags::POLLIN)];
        poll(&mut polled, PollTimeout::ZERO).unwrap();
        polled[0].revents().unwrap()
    };
    assert_eq!(ready(), PollFlags::POLLIN);
    let stopped = Stopped::new(daemon.pid());
    let (sender, answer) = std::sync::mpsc::channel();
    let poller = std::thread::spawn(move || sender.send(ready()));
    let answered = answer.recv_timeout(Duration::from_secs(5));
    drop(stopped);
    poller.join().unwrap().unwrap();
    assert_eq!(answered, Ok(PollFlags::POLLIN));
}
