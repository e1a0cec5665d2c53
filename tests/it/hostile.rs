//! What a tenant can do to the daemon and to others: nothing.

use crate::common::cgroup::Cgroup;
use crate::common::daemon::Daemon;
use crate::common::helper::{self, Running};
use crate::common::victim::Pair;
use crate::common::{MOUNT, Need, PYTHON, finish, test, times, wait_at_most};
use libtest_mimic::Trial;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub fn tests() -> Vec<Trial> {
    tests! {
        test(&[Need::Root, Need::Fuse, Need::Program(PYTHON), Need::Program("setpriv")]) => [
            calls,
        ],
        test(MOUNT) => [
            storm,
        ],
    }
}

const MIB: u64 = 1 << 10;

/// Enters the container's cgroup and namespaces with the daemon's view for its /proc/meminfo.
fn in_container(cgroup: &Cgroup, view: &str, words: &[&str]) -> Command {
    const BIND: &str = "mount --bind \"$0\" /proc/meminfo && exec \"$@\"";
    cgroup.command(&[&["unshare", "--mount", "--ipc", "--uts", "sh", "-c", BIND, view], words].concat())
}

fn total(mib: u64) -> String {
    format!("MemTotal:       {:8} kB", mib * MIB)
}

/// Whatever system calls a container makes on a view, and however odd, none does harm or is logged.
fn calls() {
    let (daemon, cgroup) = (Daemon::start(), Cgroup::new().limit(128));
    let before = daemon.log();
    let script = include_str!("hostile/calls.py");
    let python = [PYTHON, "-W", "error", "-c", script, "/proc/meminfo", &total(128)];
    // What a container runtime gives nobody by default: with it, any file can be leased.
    let words = [&["setpriv", "--bounding-set=-lease", "--inh-caps=-lease"], &python[..]].concat();
    let output = finish(&mut in_container(&cgroup, &daemon.meminfo(), &words));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success(), "{}", output.status);
    assert_eq!(daemon.log(), before);
}

/// Ends a helper of [`crate::common::storm`] and returns what it has to say.
fn end(mut running: Running) -> String {
    drop(running.process.stdin.take());
    let mut said = String::new();
    std::io::Read::read_to_string(&mut running.stdout, &mut said).unwrap();
    let status = crate::common::wait_for(&mut running.process);
    assert!(status.success(), "{status}: {said}");
    said.trim().to_string()
}

/// Programs that read and are interrupted by signals, or killed, in the middle of it.
fn interrupted(cgroup: &Cgroup, view: &str) -> Child {
    const SCRIPT: &str = "
        while true; do
            cat /proc/meminfo /proc/meminfo /proc/meminfo /proc/meminfo > /dev/null & a=$!
            cat /proc/meminfo /proc/meminfo /proc/meminfo /proc/meminfo > /dev/null & b=$!
            kill -s STOP $a; kill -s KILL $b; kill -s CONT $a; kill -s TERM $a
            wait $a; wait $b
        done 2> /dev/null";
    in_container(cgroup, view, &["sh", "-c", SCRIPT]).stdin(Stdio::null()).spawn().unwrap()
}

/// What a storm leaves behind: only parts of pages, which the allocator can't give back to the kernel.
const LEFT: u64 = 4 * MIB;

/// After a storm of open files, cgroups and readers the daemon has no more memory and files than before.
fn storm() {
    let (daemon, other) = (Daemon::start(), Cgroup::new().limit(64));
    // What any use of the daemon takes is no harm yet.
    let usual = helper_in(&other, &daemon, "readers", &["/proc/meminfo", "4"]);
    std::thread::sleep(Duration::from_millis(500));
    end(usual);
    let (memory, descriptors, log) = (daemon.resident(), daemon.descriptors(), daemon.log().len());
    println!("hostile: daemon: {memory} kB of memory, {descriptors} files");
    let mut most = memory + LEFT;
    for _ in 0..times(2) {
        let pair = Pair::start(&daemon);
        storm_once(&daemon);
        let beside = pair.end(&daemon);
        println!("hostile: another container: {beside}");
        beside.check();
        println!("hostile: daemon: {} kB of memory, {} files", daemon.resident(), daemon.descriptors());
        // It looks for what is gone every ten seconds.
        let now = || (daemon.resident(), daemon.descriptors());
        wait_at_most(30, &format!("at most {most} kB, {descriptors} files"), || {
            now().0 <= most && now().1 <= descriptors
        });
        println!("hostile: daemon: {:?} kB of memory, files, after the storm", now());
        // Another storm leaves no more.
        most = now().0 + MIB;
        assert!(daemon.log().len() <= log + 1024, "{}", daemon.log());
    }
}

fn helper_in(cgroup: &Cgroup, daemon: &Daemon, name: &str, arguments: &[&str]) -> Running {
    let words = helper::command(name, arguments);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    helper::start(&mut in_container(cgroup, &daemon.meminfo(), &words))
}

/// All at once, from a container that is gone afterwards.
fn storm_once(daemon: &Daemon) {
    let tenant = Cgroup::new().limit(256);
    // On v2 only cgroups without children may have processes.
    let (home, churn) = (tenant.child("home"), [0, 1, 2, 3].map(|i| tenant.child(format!("churn-{i}"))));
    let start = |name, arguments: &[&str]| helper_in(&home, daemon, name, arguments);
    let mut storm = vec![start("descriptors", &["/proc/meminfo", &times(10_000).to_string()])];
    let directories = churn.iter().map(|churn| churn.dir.to_str().unwrap());
    storm.extend(directories.map(|directory| start("cgroups", &[directory, "/proc/meminfo"])));
    storm.push(start("readers", &["/proc/meminfo", "64"]));
    let mut interrupted = interrupted(&home, &daemon.meminfo());
    std::thread::sleep(Duration::from_secs(5));
    assert!(interrupted.try_wait().unwrap().is_none());
    interrupted.kill().unwrap();
    interrupted.wait().unwrap();
    let said: Vec<_> = storm.into_iter().map(end).collect();
    println!("hostile: tenant: {}", said.join("; "));
}
