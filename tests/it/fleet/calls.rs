//! The system calls of the daemon for a cold read.

use super::containers::{Containers, FILES};
use super::{containers, served};
use crate::common::daemon::Daemon;
use crate::common::helper;
use crate::common::{Need, is_emulated, test, wait_until};
use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

pub fn tests() -> Vec<Trial> {
    tests! {
        test(&[Need::Root, Need::Fuse, Need::Program("strace")]) => [
            calls_of_a_cold_read,
            statistics_are_of_one_moment,
        ],
    }
}

/// Eight are FUSE's own: OPEN, READ, READ at the end and RELEASE, each received and answered.
fn calls_of_a_cold_read() {
    let (daemon, fleet) = (Daemon::start(), containers(1));
    // In an emulated guest a reading is slow, and measured therefore.
    let most_of_each = if is_emulated() { [18, 26, 26, 26, 26, 26] } else { [18, 26, 23, 25, 26, 21] };
    let of_one: Vec<_> = FILES.iter().zip(most_of_each).map(|(file, most)| (vec![*file], most)).collect();
    // An emulated processor takes longer for all six than what was read stays new.
    let of_all = (!is_emulated()).then(|| (FILES.to_vec(), 100));
    for (files, most) in of_one.into_iter().chain(of_all) {
        let calls = calls(&daemon, &fleet, &files);
        println!("fleet: {} system calls for {}", calls.len(), files.join(", "));
        assert!(calls.len() <= most, "{files:?}: {}\n{}", calls.len(), calls.join("\n"));
    }
}

/// Two readings of a cgroup's statistics would be of two moments.
fn statistics_are_of_one_moment() {
    let (daemon, fleet) = (Daemon::start(), containers(1));
    let calls = traced(&daemon, &fleet, &["proc/vmstat"], &["-y", "--trace=pread64,read"]);
    let of_container = |call: &&String| call.contains("/ctr0/") && call.contains("memory.stat>");
    let readings: Vec<_> = calls.iter().filter(of_container).collect();
    assert_eq!(readings.len(), 1, "{calls:#?}");
}

/// The calls for one more reading of the files.
fn calls(daemon: &Daemon, fleet: &Containers, files: &[&str]) -> Vec<String> {
    traced(daemon, fleet, files, &[])
}

/// What strace prints with these options of one more reading of the files, the fewest lines of three: the
/// daemon also looks after other things.
fn traced(daemon: &Daemon, fleet: &Containers, files: &[&str], options: &[&str]) -> Vec<String> {
    let words = helper::command(
        "read-when-told",
        &served(daemon, files).iter().map(String::as_str).collect::<Vec<_>>(),
    );
    let enter = format!("{} exec unshare --pid --fork \"$@\"", fleet.enter(0));
    let mut process = helper::start(Command::new("sh").args(["-c", &enter, "sh"]).args(words));
    let mut read_all = || {
        writeln!(process.process.stdin.as_mut().unwrap()).unwrap();
        process.stdout.read_exact(&mut [0; 5]).unwrap();
        std::thread::sleep(Duration::from_millis(200));
    };
    read_all();
    read_all();
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut strace = Command::new("strace")
        .args(["-f", "-p", &daemon.pid().to_string(), "-o"])
        .arg(log.path())
        .args(options)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", daemon.pid());
    let is_traced = || !fs::read_to_string(Path::new(&status)).unwrap().contains("TracerPid:\t0\n");
    wait_until("strace is attached", is_traced);
    std::thread::sleep(Duration::from_millis(300));
    let trace = || fs::read_to_string(log.path()).unwrap();
    let mut round = |_| {
        let seen = trace().lines().count();
        read_all();
        let trace = trace();
        let lines: Vec<_> = trace.lines().skip(seen).collect();
        let own = lines.iter().enumerate().filter(|(index, _)| !ends_an_earlier_answer(&lines[..=*index]));
        own.map(|(_, line)| *line).filter(|line| is_call(line)).map(str::to_string).collect::<Vec<_>>()
    };
    let fewest = (0..3).map(&mut round).min_by_key(Vec::len);
    kill_process(Pid::from_raw(strace.id().try_into().unwrap()).unwrap(), Signal::INT).unwrap();
    strace.wait().unwrap();
    fewest.unwrap()
}

/// Whether the last line is the end of a call that had begun before the first, and does not wait for a request:
/// in an emulated guest a thread may be that slow.
fn ends_an_earlier_answer(lines: &[&str]) -> bool {
    let Some((last, before)) = lines.split_last() else { return false };
    let Some((thread, _)) = last.split_once(" <... ").filter(|(_, call)| !call.starts_with("read ")) else {
        return false;
    };
    !before.iter().any(|line| line.starts_with(thread) && line.contains("<unfinished ...>"))
}

/// Whether a line is a call, at its end if it is on two lines, and not one by which threads wait for each
/// other or end, or by which the allocator moves the end of the heap, for that is as near as earlier requests
/// left it.
fn is_call(line: &str) -> bool {
    const OTHERS: [&str; 7] = ["futex(", "<... futex", "exit(", "+++", "madvise(", "brk(", "clock_gettime("];
    line.contains(" = ")
        && !line.contains("<unfinished ...>")
        && !OTHERS.iter().any(|other| line.contains(other))
}
