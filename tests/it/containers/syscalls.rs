//! System calls of podman's containers, answered by `cgprocfs answer`.

use super::podman::{DEVICE, PODMAN, Podman};
use super::{Bundle, MIB, RUNC, Runtime};
use crate::common::daemon::Daemon;
use crate::common::{Need, cgprocfs, output, test, wait_until};
use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

pub fn tests() -> Vec<Trial> {
    tests! {
        test(RUNC) => [
            system_calls_with_runc = || answered_by_profile(Runtime::Runc),
        ],
        test(CRUN) => [
            system_calls_with_crun = || answered_by_profile(Runtime::Crun),
        ],
        test(PODMAN) => [
            podman_system_calls_with_runc = || answered("runc"),
            podman_system_calls_with_crun = || answered("crun"),
            podman_system_calls_without_a_daemon,
            podman_system_calls_beside_a_flood,
        ],
    }
}

const CRUN: &[Need] = &[Need::Root, Need::Fuse, Need::Program("crun"), Need::Program("busybox")];

/// `cgprocfs answer` for a daemon.
struct Answerer {
    process: Child,
    directory: tempfile::TempDir,
}

impl Answerer {
    fn start(daemon: &Daemon) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("socket");
        let mut command = cgprocfs();
        command.args(["answer", "--socket"]).arg(&socket).arg(daemon.directory());
        let process = command.stdin(Stdio::null()).spawn().unwrap();
        wait_until("runtimes can hand over listeners", || socket.exists());
        Self { process, directory }
    }

    /// A profile by which containers are answered.
    fn print_profile(&self) -> Command {
        let mut command = cgprocfs();
        command.args(["seccomp-profile", "--affinity", "--socket"]).arg(self.directory.path().join("socket"));
        command
    }

    /// A file with that of podman's package.
    fn profile(&self) -> PathBuf {
        let mut command = self.print_profile();
        let path = self.directory.path().join("profile.json");
        fs::write(&path, output(&mut command)).unwrap();
        path
    }

    fn options(&self) -> [String; 3] {
        ["--cpus=1".into(), "--security-opt".into(), format!("seccomp={}", self.profile().display())]
    }
}

impl Drop for Answerer {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.process.id().try_into().unwrap()).unwrap();
        let _ = kill_process(pid, Signal::KILL);
        let _ = self.process.wait();
    }
}

/// What a runtime's own configuration says, made of a profile that allows all.
fn answered_by_profile(runtime: Runtime) {
    let daemon = Daemon::start();
    let answerer = Answerer::start(&daemon);
    let bundle = Bundle::of(runtime, &daemon, 64 * MIB, true, ASK);
    let seen = || parsed(&bundle.run());
    let (total, processors) = seen();
    assert!(total > 64 && processors == std::thread::available_parallelism().unwrap().get());
    let base = answerer.directory.path().join("base.json");
    fs::write(&base, r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#).unwrap();
    let profile = output(answerer.print_profile().arg("--base").arg(base));
    bundle.change(|spec| spec["linux"]["seccomp"] = serde_json::from_str(&profile).unwrap());
    assert_eq!(seen(), (64, 1));
}

/// What `free`, whose caches are read in a file, and `nproc` say in a container.
fn seen(podman: &Podman, options: &[&str]) -> (u64, usize) {
    parsed(&output(&mut podman.command(options, ASK)))
}

const ASK: &str = "busybox free -m; busybox nproc";

/// The total in MiB, and how many processors there are.
fn parsed(said: &str) -> (u64, usize) {
    let total = said.lines().find(|line| line.starts_with("Mem:")).unwrap().split_whitespace().nth(1);
    let processors = said.trim_end().rsplit('\n').next();
    (total.unwrap().parse().unwrap(), processors.unwrap().parse().unwrap())
}

fn answered(runtime: &'static str) {
    let daemon = Daemon::start();
    let (podman, answerer) = (Podman::new(&daemon, runtime), Answerer::start(&daemon));
    let options = answerer.options();
    let options = [DEVICE, &options.each_ref().map(String::as_str)].concat();
    assert_eq!(seen(&podman, &options), (64, 1));
    let (total, processors) = seen(&podman, &[DEVICE, &["--cpus=1"]].concat());
    assert!(total > 64 && processors == std::thread::available_parallelism().unwrap().get());
}

/// Whoever answers does not know more than the kernel then.
fn podman_system_calls_without_a_daemon() {
    let mut daemon = Daemon::start();
    let (podman, answerer) = (Podman::new(&daemon, "runc"), Answerer::start(&daemon));
    let options = answerer.options();
    let options = options.each_ref().map(String::as_str);
    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success(), "{}", daemon.log());
    let (total, processors) = seen(&podman, &options);
    assert!(total > 64 && processors == std::thread::available_parallelism().unwrap().get());
}

/// A container that calls as fast as it can, and whose callers are killed, makes no other wait.
fn podman_system_calls_beside_a_flood() {
    let daemon = Daemon::start();
    let answerer = Answerer::start(&daemon);
    let options = answerer.options();
    let options = [DEVICE, &options.each_ref().map(String::as_str)].concat();
    let (tenant, other) = (Podman::new(&daemon, "runc"), Podman::new(&daemon, "runc"));
    let flood = "i=0; while [ $i -lt 8 ]; do i=$((i + 1))
        (while :; do busybox timeout -s KILL 0.01 busybox free; busybox free; done >/dev/null 2>&1) & done; echo; read x";
    let mut flood = tenant.command(&options, flood);
    let mut flood = flood.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    flood.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let asked =
        "i=0; while [ $i -lt 100 ]; do i=$((i + 1)); busybox free -m | busybox grep -c ' 64 '; done; :";
    let timed = |options: &[&str]| {
        let began = Instant::now();
        (output(&mut other.command(options, asked)), began.elapsed())
    };
    let (said, took) = timed(&options);
    let (_, by_the_kernel) = timed(&[DEVICE, &["--cpus=1"]].concat());
    drop(flood.stdin.take());
    flood.wait().unwrap();
    assert_eq!(said.matches('1').count(), 100, "{said}");
    println!(
        "containers: 100 programs that ask took {took:?} beside a flood, {by_the_kernel:?} where the kernel answers"
    );
    assert!(took < 3 * by_the_kernel, "{took:?}, {by_the_kernel:?}");
}
