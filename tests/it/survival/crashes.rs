//! Servers that are killed or crash.

use super::{Hang, POISONED, Reader, assert_short, faulty, is_served, signal, wait_for_hanging};
use crate::common::cgroup::Cgroup;
use crate::common::daemon::{server, supervised};
use crate::common::load::{self, LIMIT, Load};
use crate::common::{MOUNT, field, helper, output, test, times, wait_until};
use libtest_mimic::Trial;
use rustix::process::Signal;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};
use std::time::Duration;

pub fn tests() -> Vec<Trial> {
    let mut tests = tests! {
        test(MOUNT) => [
            killed_again_and_again = || killed(times(200)),
            killed_in_the_middle_of_an_open,
            killed_in_the_middle_of_a_read,
            a_request_that_crashes_is_answered_once,
            crash_loop,
            stop_unmounts,
        ],
    };
    tests.push(test("survival::killed_a_thousand_times", MOUNT, || killed(1000)).with_ignored_flag(true));
    tests
}

/// A server that is killed again and again loses no read, and makes none wait long.
fn killed(count: usize) {
    let daemon = supervised();
    let load = Load::start(&[], &daemon.meminfo());
    let mut pid = server(&daemon, &[]);
    let depth = || fs::read_to_string("/proc/self/mounts").unwrap().matches(&daemon.meminfo()).count();
    let before = depth();
    for round in 1..=count {
        // At another moment of what it does each time.
        std::thread::sleep(Duration::from_micros(100_000 + round as u64 * 7919 % 20_000));
        signal(pid, Signal::KILL);
        pid = server(&daemon, &[pid]);
        // One that is killed before it serves counts as one that can't.
        wait_until("it serves", || daemon.log().matches("serving").count() > round);
        // However slow the machine is: one that never answers keeps readers waiting, and that is not what is
        // shown here.
        is_served(&daemon);
    }
    assert_eq!(depth(), before, "a daemon that resumes a connection lays nothing");
    let (reads, longest, busy) = load.end();
    println!("survival: killed {count} times: {reads} reads, none failed, the longest took {longest:?}");
    assert!(reads > count as u64);
    assert_short(longest, busy);
    assert_eq!(daemon.log().matches("starting it again").count(), count, "{}", daemon.log());
}

/// An open that a killed server had read is answered by the next one.
fn killed_in_the_middle_of_an_open() {
    let (faults, daemon, _deadline) = faulty();
    let pid = server(&daemon, &[]);
    let cgroup = Cgroup::new().limit(LIMIT);
    let hang = Hang::new(&faults);
    let mut reader = cgroup.command(&["cat", &daemon.meminfo()]);
    let reader = reader.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    wait_for_hanging(&faults);
    signal(pid, Signal::KILL);
    drop(hang);
    let output = reader.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    assert_eq!(field(&String::from_utf8(output.stdout).unwrap(), "MemTotal"), LIMIT << 10);
}

/// The file was opened before, and half of it was read.
fn killed_in_the_middle_of_a_read() {
    let (faults, daemon, _deadline) = faulty();
    let pid = server(&daemon, &[]);
    let file = File::open(daemon.meminfo()).unwrap();
    let mut first = [0; 512];
    file.read_exact_at(&mut first, 0).unwrap();
    // What was read lately would be given out again without a look.
    std::thread::sleep(Duration::from_millis(100));
    let hang = Hang::new(&faults);
    let reader = std::thread::spawn(move || {
        let mut text = [0; 4096];
        let length = file.read_at(&mut text, 0).unwrap();
        String::from_utf8(text[..length].to_vec()).unwrap()
    });
    wait_for_hanging(&faults);
    signal(pid, Signal::KILL);
    drop(hang);
    let text = reader.join().unwrap();
    assert_eq!(field(&text, "MemTotal"), crate::common::host_total());
    assert!(text.ends_with('\n') && text.lines().count() > 40, "{text}");
}

/// Three servers die of it, and the fourth lives.
fn a_request_that_crashes_is_answered_once() {
    let (faults, daemon, _deadline) = faulty();
    server(&daemon, &[]);
    let mut reader = Reader::new(&daemon.meminfo());
    reader.has(&faults, "crash");
    reader.go();
    reader.ends_with(POISONED);
    is_served(&daemon);
    wait_until("it says so", || daemon.log().contains("resumed by server 3"));
    let log = daemon.log();
    assert_eq!(log.matches("starting it again").count(), 3, "{log}");
    assert_eq!(log.matches("get EIO").count(), 1, "{log}");
}

/// Whoever waits gets an error, nobody waits any more, and once the cause is gone all is as before.
fn crash_loop() {
    let (faults, mut daemon, _deadline) = faulty();
    let cgroup = Cgroup::new().limit(LIMIT);
    let words = helper::command("reopen", &["/proc/meminfo"]);
    let mut container = load::bound(&[], &cgroup, &daemon.meminfo(), &words);
    assert_eq!(container.ask(), load::total());
    let pid = server(&daemon, &[]);
    let hang = Hang::new(&faults);
    let mut reader = Command::new("cat");
    let mut reader =
        reader.arg(daemon.meminfo()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for_hanging(&faults);
    let crash = faults.path().join("crash-at-start");
    fs::write(&crash, "").unwrap();
    signal(pid, Signal::KILL);
    drop(hang);
    // Who waits has an error, and nobody is left with one: the kernel's own file is there meanwhile.
    assert!(!crate::common::wait_for(&mut reader).success());
    for round in 1..=2 {
        wait_until("the supervisor lets go", || {
            let _ = container.ask();
            daemon.log().matches("the daemon fails again and again").count() >= round
        });
        wait_until("the kernel's own file", || container.ask() == native());
    }
    fs::remove_file(&crash).unwrap();
    wait_until("its own numbers", || container.ask() == load::total());
    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success(), "{}", daemon.log());
    assert_eq!(container.ask(), native());
}

fn native() -> String {
    format!("MemTotal:       {:8} kB", crate::common::host_total())
}

/// SIGTERM to the supervisor ends the daemon and unmounts.
fn stop_unmounts() {
    for stop in [Signal::TERM, Signal::INT] {
        let mut daemon = supervised();
        server(&daemon, &[]);
        output(Command::new("cat").arg(daemon.meminfo()));
        daemon.signal(stop);
        assert!(daemon.wait().success());
        assert!(!daemon.is_mounted());
    }
}
