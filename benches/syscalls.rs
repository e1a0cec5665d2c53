//! What it costs a program that its system calls are answered: each call with the filter of `cgprocfs run`, and
//! without, as ratios within one run.
//!
//! `cargo bench --bench syscalls`, as root. With `-- --json` stdout is a line of JSON for each call, and the
//! table goes to stderr.
#![allow(clippy::unwrap_used)]

use serde::{Deserialize, Serialize};
use std::hint::black_box;
use std::process::Command;
use std::time::Instant;

/// The medians of one program, in nanoseconds.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Medians {
    /// sysinfo(2).
    sysinfo: u64,
    /// sched_getaffinity(2).
    affinity: u64,
    /// getppid(2), which the filter lets pass.
    other: u64,
}

#[derive(Serialize)]
struct Line {
    call: &'static str,
    answered_ns: u64,
    native_ns: u64,
    ratio: f64,
}

const ROUNDS: usize = 5;
const CALLS_A_ROUND: usize = 2000;

/// A part of the medians.
type Part = fn(&Medians) -> u64;

const CALLS: [(&str, Part); 3] = [
    ("sysinfo", |medians| medians.sysinfo),
    ("sched_getaffinity", |medians| medians.affinity),
    ("another call", |medians| medians.other),
];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |word: &str| arguments.iter().any(|argument| argument == word);
    if has("--time-calls") {
        return println!("{}", serde_json::to_string(&own_medians()).unwrap());
    }
    if has("--test") || !rustix::process::geteuid().is_root() {
        return println!("nothing measured: run `cargo bench --bench syscalls` as root");
    }
    // Alternately, so that what else the machine does is in both.
    let rounds: Vec<_> = (0..ROUNDS)
        .map(|_| [medians(&["--cpus", "1"]), medians(&["--cpus", "1", "--no-syscalls"])])
        .collect();
    let least =
        |part: Part, which: usize| rounds.iter().map(|round| part(&round[which])).min().unwrap_or_default();
    let head = format!("{:18} {:>12} {:>12} {:>8}", "", "answered ns", "native ns", "ratio");
    let say = |line: &str| if has("--json") { eprintln!("{line}") } else { println!("{line}") };
    say(&head);
    for (call, part) in CALLS {
        let (answered_ns, native_ns) = (least(part, 0), least(part, 1));
        let ratio = answered_ns as f64 / native_ns as f64;
        say(&format!("{call:18} {answered_ns:12} {native_ns:12} {ratio:8.2}"));
        if has("--json") {
            let line = Line { call, answered_ns, native_ns, ratio };
            println!("{}", serde_json::to_string(&line).unwrap());
        }
    }
}

/// Those of this program under `cgprocfs run`.
fn medians(options: &[&str]) -> Medians {
    let this = std::env::current_exe().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_cgprocfs"));
    command.arg("run").args(options).arg("--").arg(this).arg("--time-calls");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn own_medians() -> Medians {
    Medians {
        sysinfo: median(rustix::system::sysinfo),
        affinity: median(|| rustix::thread::sched_getaffinity(None)),
        other: median(rustix::process::getppid),
    }
}

fn median<T>(call: impl Fn() -> T) -> u64 {
    let mut times: Vec<u128> = (0..CALLS_A_ROUND)
        .map(|_| {
            let began = Instant::now();
            black_box(call());
            began.elapsed().as_nanos()
        })
        .collect();
    times.sort_unstable();
    u64::try_from(times[CALLS_A_ROUND / 2]).unwrap()
}
