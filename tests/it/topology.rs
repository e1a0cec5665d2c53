//! The directories of processors and of memory nodes: the same ones as everywhere else, and everything that
//! the kernel has there.
mod nodes;

use crate::common::daemon::Daemon;
use crate::common::{MOUNT, Need, cgprocfs, output, test, wait_until};
use libtest_mimic::Trial;
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::path::Path;
use std::process::{Command, Stdio};

const DIRECTORY: &str = "sys/devices/system/cpu";
const NODES: &str = "sys/devices/system/node";

/// Those that this kernel has: not every one knows of nodes.
fn directories() -> impl Iterator<Item = &'static str> {
    [DIRECTORY, NODES].into_iter().filter(|path| Path::new("/").join(path).exists())
}

pub fn tests() -> Vec<Trial> {
    const RUN: &[Need] = &[Need::Root, Need::Fuse, Need::Program("lscpu")];
    let mut tests = tests! {
        test(MOUNT) => [
            the_host_has_all,
            files_outlive_their_daemon,
            containers_follow,
        ],
        test(&[Need::Root, Need::Fuse, Need::Program("setpriv")]) => [
            modes_are_the_kernel_s,
        ],
        test(RUN) => [
            one_topology,
        ],
    };
    tests.extend(nodes::tests());
    tests
}

/// What `find` says of a directory, in order.
fn find(directory: &Path, options: &[&str]) -> BTreeSet<String> {
    let said = output(Command::new("find").arg(directory).args(options));
    assert!(said.lines().count() > 10, "{said}");
    said.lines().map(str::to_string).collect()
}

/// A reader in no container finds in the directories what the kernel has there.
fn the_host_has_all() {
    let daemon = Daemon::start();
    // What runtimes mask nobody has here.
    let printed = ["-name", "thermal_throttle", "-prune", "-o", "-printf", "%P %y %l\n"];
    for directory in directories() {
        let native = find(&Path::new("/").join(directory), &printed);
        assert_eq!(find(&daemon.path(directory), &printed), native);
    }
    let (ours, native) = (daemon.path(DIRECTORY), Path::new("/").join(DIRECTORY));
    let text = |directory: &Path, file: &str| fs::read_to_string(directory.join(file)).unwrap();
    for file in
        ["online", "kernel_max", "cpu0/topology/core_cpus_list", "cpu0/topology/package_cpus", "cpu0/uevent"]
    {
        assert_eq!(text(&ours, file), text(&native, file), "{file}");
    }
    for file in ["nothing", "cpu0/nothing", "cpu9999", "cpu0/topology/core_id/nothing"] {
        assert!(!ours.join(file).exists(), "{file}");
    }
    assert!(File::options().write(true).open(ours.join("cpu0/uevent")).is_err());
}

/// Who is not root reads what it may read in the kernel's own, and nothing else.
fn modes_are_the_kernel_s() {
    let daemon = Daemon::start();
    let readable = |directory: &Path| {
        let script = "cd \"$0\" && for file in $(find . -name thermal_throttle -prune -o -type f -print); do
            test -r \"$file\" && echo \"may read $file\"
            cat \"$file\" > /dev/null 2>&1 && echo \"reads $file\"
            done; :";
        let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", script];
        let said = output(Command::new("setpriv").args(nobody).arg(directory));
        said.lines().map(str::to_string).collect::<BTreeSet<_>>()
    };
    for directory in directories() {
        let native = readable(&Path::new("/").join(directory));
        assert!(native.len() > 10);
        assert_eq!(readable(&daemon.path(directory)), native);
    }
}

/// A container's processors are one package of as many cores, in every file that says so.
fn one_topology() {
    let script = "
        cd /sys/devices/system/cpu
        cat online present possible; ls -d cpu[0-9]* | tr '\\n' ' '; echo
        cat cpu0/topology/core_siblings_list cpu0/topology/thread_siblings_list cpu0/topology/core_id offline
        lscpu --parse=cpu,core,socket 2>&1 | grep -v '^#'
        test -e cpu1/topology && cat cpu1/topology/core_id 2>&1; :";
    let said = |cpus: &str| output(cgprocfs().args(["run", "--cpus", cpus, "--", "sh", "-c", script]));
    let shown = said("0.5");
    assert!(shown.starts_with("0\n0\n0\ncpu0 \n0\n0\n0\n\n0,0,0\n"), "{shown}");
    assert!(!shown.ends_with("\n1\n"), "a processor that it has not has no files to read: {shown}");
    let all = std::thread::available_parallelism().unwrap().get();
    if all >= 2 {
        let shown = said("1.5");
        assert_eq!(shown, "0-1\n0-1\n0-1\ncpu0 cpu1 \n0-1\n0\n0\n\n0,0,0\n1,1,0\n1\n");
    }
    // All of it can be read as far as the kernel's own can be.
    let script = "cd /sys/devices/system && for directory in cpu node; do
        test ! -e $directory || grep -r --exclude-dir=thermal_throttle . $directory 2>&1 > /dev/null; done; :";
    let unreadable = |command: &mut Command| {
        let said = output(command.args(["sh", "-c", script]));
        // Of the host's some may be offline.
        let of_any = |line: &str| line.replace(|c: char| c.is_ascii_digit(), "");
        said.lines().map(of_any).collect::<BTreeSet<_>>()
    };
    assert_eq!(unreadable(cgprocfs().args(["run", "--"])), unreadable(&mut Command::new("env")));
}

/// The kernel asks the next one for them by numbers that this one has never heard.
fn files_outlive_their_daemon() {
    let daemon = Daemon::start();
    let directory = daemon.path(DIRECTORY);
    let mut file = File::open(directory.join("cpu0/topology/core_cpus_list")).unwrap();
    let opened = File::open(directory.join("cpu0/cache")).ok();
    let text = |file: &mut File| {
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        text
    };
    let before = text(&mut file);
    let _successor = daemon.taken_over();
    assert_eq!(text(&mut file), before);
    assert_eq!(fs::read_to_string(directory.join("cpu0/topology/core_cpus_list")).unwrap(), before);
    if let Some(opened) = opened {
        use std::os::fd::AsRawFd;
        let listed = fs::read_dir(format!("/proc/self/fd/{}", opened.as_raw_fd())).unwrap().count();
        assert!(listed > 0);
    }
}

/// A container that has bound the directory gets the kernel's when the daemon ends, and ours from the next
/// one.
fn containers_follow() {
    directories().for_each(container_follows);
}

fn container_follows(directory: &str) {
    let mut daemon = Daemon::start();
    let script = "mount --bind \"$0\" \"$1\" && while read line; do \
        stat --file-system --format=%T \"$1\"; cat \"$1/online\"; done";
    let own = Path::new("/").join(directory);
    let mut container = Command::new("unshare")
        .args(["--mount", "--propagation", "slave", "sh", "-c", script])
        .args([&daemon.path(directory), &own])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut orders, mut said) =
        (container.stdin.take().unwrap(), BufReader::new(container.stdout.take().unwrap()).lines());
    let online = fs::read_to_string(own.join("online")).unwrap();
    let mut ask = || {
        orders.write_all(b"\n").unwrap();
        let (kind, cpus) = (said.next().unwrap().unwrap(), said.next().unwrap().unwrap());
        assert_eq!(cpus, online.trim());
        kind
    };
    assert_eq!(ask(), "fuseblk");
    for _ in 0..2 {
        daemon.signal(Signal::TERM);
        assert!(daemon.wait().success());
        assert_eq!(ask(), "sysfs");
        daemon = daemon.again();
        assert_eq!(ask(), "fuseblk");
    }
    drop(orders);
    wait_until("the container ends", || container.try_wait().unwrap().is_some());
}
