//! Servers that hang, as a whole or over one request.

use super::{Hang, POISONED, Reader, faulty, is_served, signal, wait_for_hanging};
use crate::common::cgroup::Cgroup;
use crate::common::daemon::{Daemon, server, supervised};
use crate::common::load::{LIMIT, Load};
use crate::common::victim::BOUND;
use crate::common::{Busy, MOUNT, Stopped, field, output, test, wait_at_most, wait_until};
use libtest_mimic::Trial;
use rustix::process::Signal;
use std::fs;
use std::io::{Read, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

pub fn tests() -> Vec<Trial> {
    tests! {
        test(MOUNT) => [
            a_request_that_hangs_is_answered_once,
            a_container_that_hung_is_quarantined,
            a_request_that_hangs_is_left_to_the_successor,
            stuck_thread,
            stopped_daemon,
        ],
    }
}

/// A reader whose request hangs until the other is dropped.
fn hanging(faults: &tempfile::TempDir, daemon: &Daemon) -> (Reader, Hang) {
    let mut reader = Reader::new(&daemon.meminfo());
    reader.has(faults, "hang");
    let hang = Hang(faults.path().join("hang"));
    reader.go();
    wait_for_hanging(faults);
    (reader, hang)
}

/// The server after the one that hung answers it with an error, without trying it.
fn a_request_that_hangs_is_answered_once() {
    let (faults, daemon, _deadline) = faulty();
    let pid = server(&daemon, &[]);
    let (reader, _hang) = hanging(&faults, &daemon);
    // The daemon writes down once a second that it runs.
    std::thread::sleep(Duration::from_millis(4500));
    is_served(&daemon);
    // It writes this file again and again as long as it runs.
    signal(pid, Signal::STOP);
    wait_until("it is stopped", || {
        fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") T "))
    });
    fs::remove_file(faults.path().join("hanging")).unwrap();
    signal(pid, Signal::KILL);
    reader.ends_with(POISONED);
    is_served(&daemon);
    assert!(!faults.path().join("hanging").exists(), "it was tried again");
    wait_until("it says so", || daemon.log().contains("get EIO"));
    assert_eq!(daemon.log().matches("get EIO").count(), 1, "{}", daemon.log());
}

/// The container of a request that a server has ended over is served by threads that serve nobody else.
fn a_container_that_hung_is_quarantined() {
    // It is looked at while it waits for its answer, and afterwards, if it lives on.
    for then in ["read line < \"$0\"; echo told; exec sleep 60", "exec cat \"$0\""] {
        is_quarantined(&format!("read go; {then}"));
    }
}

fn is_quarantined(script: &str) {
    let (faults, daemon, _deadline) = faulty();
    let pid = server(&daemon, &[]);
    let cgroup = Cgroup::new().limit(LIMIT);
    let mut command = cgroup.command(&["sh", "-c", script, &daemon.meminfo()]);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut reader = command.spawn().unwrap();
    fs::write(faults.path().join("hang"), reader.id().to_string()).unwrap();
    let hang = Hang(faults.path().join("hang"));
    reader.stdin.take().unwrap().write_all(b"\n").unwrap();
    wait_for_hanging(&faults);
    std::thread::sleep(Duration::from_millis(4500));
    signal(pid, Signal::KILL);
    // Until it was told of the error, or has ended.
    let _ = reader.stdout.as_mut().unwrap().read(&mut [0; 5]).unwrap();
    drop(hang);

    let server = server(&daemon, &[pid]);
    let deferred = || {
        let tasks = fs::read_dir(format!("/proc/{server}/task")).unwrap();
        let name =
            |task: std::io::Result<fs::DirEntry>| fs::read_to_string(task.ok()?.path().join("comm")).ok();
        tasks.filter_map(name).any(|name| name.trim() == "deferred")
    };
    // Threads that have nothing to do end after five seconds.
    wait_until("it is looked for", deferred);
    wait_until("it was found", || !deferred());
    let other = Cgroup::new().limit(LIMIT);
    let read = |cgroup: &Cgroup| {
        let text = output(&mut cgroup.command(&["cat", &daemon.meminfo()]));
        assert_eq!(field(&text, "MemTotal"), LIMIT << 10);
    };
    read(&other);
    assert!(!deferred(), "others are served as ever");
    read(&cgroup);
    assert!(deferred(), "{}", daemon.log());
    reader.kill().unwrap();
    reader.wait().unwrap();
}

/// A daemon that is to be replaced does not wait for it for longer than a second, nor do others.
fn a_request_that_hangs_is_left_to_the_successor() {
    let (faults, daemon, _deadline) = faulty();
    let pid = server(&daemon, &[]);
    let (reader, hang) = hanging(&faults, &daemon);
    let load = Load::start(&[], &daemon.meminfo());
    daemon.signal(Signal::HUP);
    server(&daemon, &[pid]);
    let (_, longest, busy) = load.end();
    assert!(longest < busy.stretches(Duration::from_secs(2)), "{longest:?}");
    wait_until("it says so", || daemon.log().contains("is left to the successor"));
    drop(hang);
    let ended = reader.0.wait_with_output().unwrap();
    assert_eq!(field(&String::from_utf8(ended.stdout).unwrap(), "MemTotal"), LIMIT << 10);
}

/// A request hangs: whoever asked waits, all others are served, and nobody has a reason to replace the
/// daemon.
fn stuck_thread() {
    let (faults, daemon, _deadline) = faulty();
    let (pid, bound) = (server(&daemon, &[]), Busy::now().stretches(BOUND));
    let (mut reader, hang) = hanging(&faults, &daemon);
    let cgroup = Cgroup::new().limit(LIMIT);
    let start = Instant::now();
    // The kernel's own file in between: on a busy machine a process may have to wait before it reads.
    let (mut longest, mut longest_native) = (Duration::ZERO, Duration::ZERO);
    while start.elapsed() < Duration::from_secs(15) {
        let timed = |path: &str| {
            let asked = Instant::now();
            (output(&mut cgroup.command(&["cat", path])), asked.elapsed())
        };
        let (text, took) = timed(&daemon.meminfo());
        assert_eq!(field(&text, "MemTotal"), LIMIT << 10);
        longest = longest.max(took);
        longest_native = longest_native.max(timed("/proc/meminfo").1);
        std::thread::sleep(Duration::from_millis(50));
    }
    println!(
        "survival: beside a request that hangs: the longest read took {longest:?}, of the kernel's own file {longest_native:?}"
    );
    let bound = bound.max(longest_native * 5);
    assert!(longest < bound, "a read took {longest:?}, longer than {bound:?}");
    assert_eq!((daemon.children(), reader.0.try_wait().unwrap()), (vec![pid], None), "{}", daemon.log());
    drop(hang);
    let Reader(reader, _cgroup) = reader;
    let text = reader.wait_with_output().unwrap().stdout;
    assert_eq!(field(&String::from_utf8(text).unwrap(), "MemTotal"), LIMIT << 10);
}

/// A daemon that is stopped is killed by its supervisor and replaced.
fn stopped_daemon() {
    let daemon = supervised();
    let pid = server(&daemon, &[]);
    let load = Load::start(&[], &daemon.meminfo());
    let stopped = Stopped::new(pid);
    wait_at_most(30, "the stopped daemon is killed", || daemon.log().contains("no sign of life"));
    assert_ne!(server(&daemon, &[pid]), pid);
    let (_, longest, busy) = load.end();
    println!("survival: stopped: the longest read took {longest:?}");
    // Ten seconds until that is noticed, and then a start.
    let bound = crate::common::patience(10) + busy.stretches(Duration::from_secs(1));
    assert!(longest < bound, "a read took {longest:?}, longer than {bound:?}");
    std::mem::forget(stopped);
}
