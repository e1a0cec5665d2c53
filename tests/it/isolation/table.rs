//! The documentation's table of what others notice.

use crate::common::documentation;
use crate::common::victim::{Beside, Seen};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Its rows: what goes on in one container.
pub static ROWS: [&str; 17] = [
    "nothing",
    "64 readers",
    "1,000 readers",
    "lists the directory of processors, 512 bytes at a time",
    "looks for files that are missing",
    "64 readers of files that take the kernel 20 ms each",
    "readers in 100 nested cgroups, each with a limit",
    "readers in 400",
    "readers in 1,900",
    "an exec that hangs, and others that ask for the container's age",
    "the same, where it is the container's init that hangs",
    "the same, and others have entered nothing but its pid namespace",
    "60 execs that hang, each in a cgroup of its own",
    "360 namespaces, and a daemon that may have 256 files open",
    "64 readers in each of 8 containers",
    "4 readers in each of 100 cgroups of one container",
    "4 readers in each of 400 cgroup namespaces",
];

/// What is tried besides, as ways around what holds in the rows above.
static NOT_IN_THE_TABLE: [&str; 3] = [
    "1,000 readers whose ids have few last bits",
    "4 readers in each of 200 cgroup namespaces of each of two tenants",
    "1,000 threads that open and close the file",
];

static SEEN: Mutex<[Option<[Seen; 2]>; ROWS.len()]> = Mutex::new([const { None }; ROWS.len()]);

/// Notes what a container has seen beside the load of a row.
pub fn note(load: &str, beside: &Beside) {
    println!("isolation: beside {load}: {beside}");
    if NOT_IN_THE_TABLE.contains(&load) {
        return;
    }
    let place = ROWS.iter().position(|row| *row == load).expect("a row of the table");
    let seen = [beside.ours.clone(), beside.kernels.clone()];
    SEEN.lock().unwrap_or_else(PoisonError::into_inner)[place] = Some(seen);
}

/// Writes it anew, if all rows were measured.
pub fn write() {
    let seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let row = |(load, seen): (&&str, &Option<[Seen; 2]>)| {
        let [ours, kernels] = seen.as_ref()?.each_ref().map(times);
        Some(format!("| {load} | {ours} | {kernels} |\n"))
    };
    let rows: Option<String> = ROWS.iter().zip(seen.iter()).map(row).collect();
    const HEAD: &str = "| beside a container with | our view: median, 99 %, longest | the kernel's own file |\n|---|---|---|\n";
    if let Some(rows) = rows {
        documentation::write("isolation", &(HEAD.to_string() + &rows));
    }
}

fn times(seen: &Seen) -> String {
    [seen.median, seen.late, seen.longest].map(milliseconds).join(", ") + " ms"
}

/// Two digits of it are true of another run, too.
fn milliseconds(time: Duration) -> String {
    let time = time.as_secs_f64() * 1e3;
    if time < 1.0 {
        format!("{time:.2}")
    } else if time < 10.0 {
        format!("{time:.1}")
    } else {
        format!("{time:.0}")
    }
}
