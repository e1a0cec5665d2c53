//! `cgprocfs run`: one command that sees its own memory.

mod cleaning;
mod program;
mod report;
mod syscalls;

use crate::common::{cgprocfs, helper};
use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};
use std::io::Read;
use std::process::{Child, Command, Output, Stdio};

pub fn tests() -> Vec<Trial> {
    [program::tests(), report::tests(), cleaning::tests(), syscalls::tests()].into_iter().flatten().collect()
}

fn run_command(arguments: &[&str]) -> Command {
    let mut command = cgprocfs();
    command.arg("run").args(arguments);
    command
}

fn finish(arguments: &[&str]) -> Output {
    run_command(arguments).stdin(Stdio::null()).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn hog(mib: &str) -> Vec<String> {
    helper::command("hog", &[mib])
}

/// Starts a run whose program says when it is ready.
fn start(script: &str) -> Child {
    // What starts the tests may ignore signals, as a shell does for what it runs in the background, and that
    // is inherited.
    let mut command = Command::new("env");
    command
        .arg("--default-signal")
        .arg(crate::common::cgprocfs_path())
        .args(["run", "--", "sh", "-c", script]);
    let mut process =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    process.stdout.as_mut().unwrap().read_exact(&mut [0; 6]).unwrap();
    process
}

fn send(process: &Child, signal: Signal) {
    kill_process(Pid::from_raw(process.id().try_into().unwrap()).unwrap(), signal).unwrap();
}
