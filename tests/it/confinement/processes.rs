//! The confined processes themselves: all their threads, and what their end means to others.

use super::signal;
use crate::common::cgroup::Cgroup;
use crate::common::daemon::Daemon;
use crate::common::foreground::Foreground;
use crate::common::{
    MOUNT, Need, Stopped, cgprocfs_path, field, finish, load, output, test, wait_for, wait_until,
};
use libtest_mimic::Trial;
use rustix::process::Signal;
use std::fs;
use std::io::{self};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

pub fn tests() -> Vec<Trial> {
    tests! {
        test(MOUNT) => [
            all_threads_are_confined,
            threads_that_serve_come_before_programs,
            namespace_reader_killed,
            namespace_reader_killed_without_a_keeper,
            namespace_reader_hangs,
        ],
        test(&[Need::Root, Need::Fuse, Need::Program("strace")]) => [
            confined_before_anybody_is_answered,
            confined_while_the_unit_starts,
        ],
    }
}

const PTRACE: u64 = 1 << 19;

const ADMIN: u64 = 1 << 21;

/// Whoever serves has a higher priority than programs have, unless it was started with another than theirs.
fn threads_that_serve_come_before_programs() {
    let own = rustix::process::getpriority_process(None).unwrap();
    for (nice, served_with) in [(0, -5), (3, 3), (-2, -2)] {
        let daemon = Daemon::start_by(&["nice", "-n", &(nice - own).to_string()]);
        fs::read(daemon.meminfo()).unwrap();
        let threads = fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap();
        let of = |thread: &Path| {
            let stat = fs::read_to_string(thread.join("stat")).unwrap();
            let (name, rest) = stat.split_once('(').unwrap().1.rsplit_once(')').unwrap();
            (name.to_string(), rest.split_whitespace().nth(16).unwrap().parse::<i32>().unwrap())
        };
        let all: Vec<_> = threads.map(|thread| of(&thread.unwrap().path())).collect();
        let served: Vec<_> = all.iter().filter(|(name, _)| name.starts_with("fuser-")).collect();
        assert!(served.len() >= 2 && served.iter().all(|(_, nice)| *nice == served_with), "{all:?}");
        let load = all.iter().find(|(name, _)| name == "load").unwrap();
        assert!(load.1 >= 10, "those that do not serve come after programs: {all:?}");
    }
}

/// Of every thread of a process: its capabilities that are inheritable, permitted, effective, ambient, and
/// those that it is bounded to; then whether it has no new privileges, and how its system calls are
/// restricted.
fn confinement(pid: u32) -> Vec<([u64; 5], [String; 2])> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let of_thread = |thread: io::Result<fs::DirEntry>| {
        let status = fs::read_to_string(thread.unwrap().path().join("status")).ok()?;
        let value =
            |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim().to_string();
        let sets = ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:", "CapBnd:"];
        let sets = sets.map(|key| u64::from_str_radix(&value(key), 16).unwrap());
        Some((sets, ["NoNewPrivs:", "Seccomp:"].map(value)))
    };
    threads.filter_map(of_thread).collect()
}

/// No thread of any process of the daemon has been left out.
fn all_threads_are_confined() {
    for options in [&["--supervise"][..], &[], &["--supervise", "--triggers"]] {
        let daemon = Daemon::start_with(&[], options, &[]);
        let server = server(&daemon);
        // What starts threads of its own: load is followed once it was asked for.
        fs::read(daemon.path("proc/loadavg")).unwrap();
        let threads = confinement(server);
        assert!(threads.len() >= 4, "{threads:?}");
        for thread in threads {
            let expected = ([0, PTRACE, PTRACE, 0, PTRACE], ["1", "2"].map(str::to_string));
            assert_eq!(thread, expected, "{options:?}");
        }
        // What the namespace reader and the steward have.
        let mut helpers: Vec<_> = load::children(server).into_iter().flat_map(confinement).collect();
        helpers.sort();
        let helper = |seccomp: &str| ([0, ADMIN, ADMIN, 0, ADMIN], ["1", seccomp].map(str::to_string));
        assert_eq!(helpers, [helper("0"), helper("2")], "{options:?}");
    }
}

/// Its calls are restricted before there is a thread that answers.
fn confined_before_anybody_is_answered() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let daemon = Daemon::start_by(&[&TRACE[..], &[log.path().to_str().unwrap()]].concat());
    fs::read(daemon.meminfo()).unwrap();
    is_confined_first(log.path());
}

const TRACE: [&str; 5] =
    ["strace", "--follow-forks", "--quiet=all", "--trace=seccomp,prctl,execve", "--output"];

fn is_confined_first(trace: &Path) {
    let trace = fs::read_to_string(trace).unwrap();
    // The processes that it starts have lists of their own.
    let main = trace.split(' ').next().unwrap();
    let is_restriction =
        |line: &&str| line.split(' ').next() == Some(main) && line.contains("SECCOMP_SET_MODE_FILTER");
    let restricted = trace.lines().collect::<Vec<_>>().iter().rposition(is_restriction);
    let serving = trace.lines().position(|line| line.contains("\"session\"") || line.contains("\"fuser-"));
    assert!(restricted.is_some() && serving.is_some() && restricted < serving, "{trace}");
}

/// So are those of the process that mounts for the unit, which answers until the unit's server has started.
fn confined_while_the_unit_starts() {
    let (directory, log) = (tempfile::tempdir().unwrap(), tempfile::NamedTempFile::new().unwrap());
    // A service manager that keeps nothing.
    let socket = directory.path().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    std::thread::spawn(move || while manager.recv(&mut [0; 4096]).is_ok_and(|length| length != 4) {});
    let anchors = directory.path().join("anchors");
    fs::create_dir(&anchors).unwrap();
    let mut command = Command::new(TRACE[0]);
    command.args(&TRACE[1..]).arg(log.path()).arg(cgprocfs_path());
    command.args(["mount", "--leave", "no-such-unit.service"]).arg(&anchors).env("NOTIFY_SOCKET", &socket);
    let mut leaving = Foreground::start(&mut command, &anchors);
    let ended = wait_for(&mut leaving.process);
    UnixDatagram::unbound().unwrap().send_to(b"stop", &socket).unwrap();
    assert!(ended.success(), "{ended}");
    is_confined_first(log.path());
}

/// The process that serves: the daemon, or its child.
fn server(daemon: &Daemon) -> u32 {
    let program = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let children = daemon.children();
    children.into_iter().find(|pid| program(pid).contains("--supervised")).unwrap_or(daemon.pid())
}

fn namespace_reader(server: u32) -> u32 {
    let is_it = |pid: &u32| {
        let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.contains(cgprocfs::confinement::namespace_reader::COMMAND)
    };
    load::children(server).into_iter().find(is_it).unwrap()
}

/// Reads as the first process of a cgroup namespace of its own.
fn in_new_namespace(daemon: &Daemon, cgroup: &Cgroup) -> Command {
    cgroup.command(&["unshare", "--cgroup", "cat", &daemon.meminfo()])
}

/// A supervised daemon is started again with a new one, and no read fails.
fn namespace_reader_killed() {
    let daemon = Daemon::start_with(&[], &["--supervise"], &[]);
    let cgroup = Cgroup::new().limit(64);
    let total = || field(&output(&mut in_new_namespace(&daemon, &cgroup)), "MemTotal");
    assert_eq!(total(), 64 << 10);
    let before = server(&daemon);
    signal(namespace_reader(before), Signal::KILL);
    assert_eq!(total(), 64 << 10, "the next server answers: {}", daemon.log());
    assert_ne!(server(&daemon), before);
}

/// A daemon that nobody keeps ends, and containers have the kernel's file.
fn namespace_reader_killed_without_a_keeper() {
    let mut daemon = Daemon::start();
    let cgroup = Cgroup::new().limit(64);
    assert_eq!(field(&output(&mut in_new_namespace(&daemon, &cgroup)), "MemTotal"), 64 << 10);
    signal(namespace_reader(server(&daemon)), Signal::KILL);
    finish(&mut in_new_namespace(&daemon, &cgroup));
    assert_eq!(daemon.wait().code(), Some(1), "{}", daemon.log());
    let text = output(&mut in_new_namespace(&daemon, &cgroup));
    assert_eq!(field(&text, "MemTotal"), crate::common::host_total(), "the kernel's own file");
}

/// It costs its own reader an error, and nobody else anything.
fn namespace_reader_hangs() {
    let daemon = Daemon::start_with(&[], &["--supervise"], &[]);
    let (cgroup, other) = (Cgroup::new().limit(64), Cgroup::new().limit(128));
    let server = server(&daemon);
    let stopped = Stopped::new(namespace_reader(server));
    let start = Instant::now();
    let ended = finish(&mut in_new_namespace(&daemon, &cgroup));
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(said.contains("Resource temporarily unavailable"), "{said}: {}", daemon.log());
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    // One that needs no look, and one that comes to know that none is to be had.
    assert_eq!(field(&output(&mut other.command(&["cat", &daemon.meminfo()])), "MemTotal"), 128 << 10);
    let start = Instant::now();
    assert!(!finish(&mut in_new_namespace(&daemon, &cgroup)).status.success());
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    drop(stopped);
    wait_until("it answers again", || finish(&mut in_new_namespace(&daemon, &cgroup)).status.success());
    assert_eq!(self::server(&daemon), server, "it is the same server");
}
