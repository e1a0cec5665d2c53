//! Many readers, few descriptors, and reads that fail.

use super::read;
use crate::common::cgroup::Cgroup;
use crate::common::daemon::Daemon;
use crate::common::{MOUNT, Need, field, output, test, times, wait_until};
use libtest_mimic::Trial;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

pub fn tests() -> Vec<Trial> {
    tests! {
        test(MOUNT) => [
            thousands_of_opens,
            more_containers_than_descriptors,
            a_panic_is_contained,
            failing_reads_do_not_fill_the_log,
        ],
        test(&[Need::Root, Need::Fuse, Need::Program("prlimit")]) => [
            limit_on_open_files_is_raised,
        ],
    }
}

/// Thousands of open files cost the daemon no descriptor, and tens of thousands of reads no memory.
fn thousands_of_opens() {
    let daemon = Daemon::start();
    let path = daemon.path("proc/meminfo");
    read(&path);
    let descriptors = daemon.descriptors();
    for _ in 0..3 {
        let files: Vec<_> = (0..times(1500)).map(|_| File::open(&path).unwrap()).collect();
        // But for one that it may have open itself just then.
        let more = daemon.descriptors().saturating_sub(descriptors);
        assert!(more < 10, "{} open files cost the daemon {more} descriptors", files.len());
        drop(files);
    }
    let read_often = |times| (0..times).for_each(|_| drop(read(&path)));
    read_often(times(2_000));
    let resident = daemon.resident();
    read_often(times(20_000));
    let grown = daemon.resident().saturating_sub(resident);
    assert!(grown < 300, "{grown} kB grown over {} reads", times(20_000));
    assert!(daemon.descriptors() < descriptors + 10);
}

/// The daemon raises its limit on open files as far as it goes.
fn limit_on_open_files_is_raised() {
    let daemon = Daemon::start_by(&["prlimit", "--nofile=256:4096"]);
    let limits = read(Path::new(&format!("/proc/{}/limits", daemon.pid())));
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    assert_eq!(files.split_whitespace().take(2).collect::<Vec<_>>(), ["4096", "4096"]);
}

/// A tenant that makes cgroups without end makes nobody's reads fail.
fn more_containers_than_descriptors() {
    let daemon = Daemon::start_by(&["prlimit", "--nofile=64:64"]);
    let parent = Cgroup::new();
    let containers: Vec<_> = (32..72).map(|mib| (mib, parent.child(mib.to_string()).limit(mib))).collect();
    for _ in 0..3 {
        for (mib, container) in &containers {
            let text = output(&mut container.command(&["cat", &daemon.meminfo()]));
            assert_eq!(field(&text, "MemTotal"), mib << 10);
        }
    }
    assert!(daemon.descriptors() <= 64 && !daemon.log().contains("cannot"), "{}", daemon.log());
}

/// More panics than there are threads, and the mount serves on.
fn a_panic_is_contained() {
    let faults = tempfile::tempdir().unwrap();
    let daemon = Daemon::start_with(&[], &[], &[("CGPROCFS_FAULTS", faults.path().to_str().unwrap())]);
    fs::write(faults.path().join("unwind"), "").unwrap();
    // What was read at the start would be given out again without a look.
    std::thread::sleep(Duration::from_millis(200));
    for _ in 0..20 {
        let refused = fs::read(daemon.meminfo()).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EIO));
    }
    fs::remove_file(faults.path().join("unwind")).unwrap();
    assert!(fs::read_to_string(daemon.path("working_set")).unwrap().trim().parse::<u64>().is_ok());
}

/// Each read fails, for the daemon may open no file any more, and the log has one line of it.
fn failing_reads_do_not_fill_the_log() {
    let daemon = Daemon::start();
    let container = Cgroup::new().limit(64);
    output(Command::new("prlimit").args(["--nofile=4:4", "--pid", &daemon.pid().to_string()]));
    for _ in 0..times(100) {
        let failed = crate::common::finish(&mut container.command(&["cat", &daemon.meminfo()]));
        let said = String::from_utf8(failed.stderr).unwrap();
        assert!(!failed.status.success() && said.contains("Too many open files"), "{said}");
    }
    wait_until("it is logged", || daemon.log().contains("Too many open files"));
    assert_eq!(daemon.log().matches("Too many open files").count(), 1, "{}", daemon.log());
}
