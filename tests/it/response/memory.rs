//! Memory of programs, files and tmpfs, and the working set.

use super::{MIB, N, Subject, about};
use crate::common::disk::{Disk, resident};
use crate::common::{MOUNT, Need, output, test};
use libtest_mimic::Trial;
use std::time::Duration;

pub fn tests() -> Vec<Trial> {
    tests! {
        test(MOUNT) => [
            anonymous_memory,
            file_read_once,
            tmpfs,
            working_set_is_the_formula_to_the_byte,
        ],
        test(SWAP) => [
            swap,
        ],
    }
}

const SWAP: &[Need] = &[Need::Root, Need::Fuse, Need::Swap];

/// What a program allocates changes its lines by that amount.
fn anonymous_memory() {
    let change = Subject::new().change(&format!("anon {N}"));
    about("MemFree", change.free, -N * MIB);
    about("MemAvailable", change.available, -N * MIB);
    about("working_set", change.working_set, N * MIB);
    about("Cached", change.cached, 0);
}

/// So does a file that is read.
fn file_read_once() {
    let disk = Disk::new();
    let file = disk.file("file", N.try_into().unwrap());
    let mut subject = Subject::new();
    let change = subject.change(&format!("read {file}"));
    // A kernel that reclaims before memory is short (DAMON) has taken some of it back.
    let cached = resident(file.as_ref()).map_or(N * MIB, |bytes| i64::try_from(bytes / 1024).unwrap());
    assert!(cached > N * MIB / 2, "{cached} kB of the file are in memory");
    about("Cached", change.cached, cached);
    about("MemAvailable", change.available, 0);
    about("MemFree", change.free, -cached);
    // Which list the pages are on is the kernel's decision, and MGLRU's is another.
    let inactive = subject.container.stat("total_inactive_file", "inactive_file");
    let expected = (subject.container.usage().saturating_sub(inactive)) / 1024;
    let now = subject.see().working_set;
    about("working_set", now, expected.try_into().unwrap());
}

/// So does a file in a tmpfs.
fn tmpfs() {
    let shm = tempfile::tempdir_in("/dev/shm").unwrap();
    let change = Subject::new().change(&format!("write {} {N}", shm.path().join("file").display()));
    about("Shmem", change.shmem, N * MIB);
    about("Cached", change.cached, N * MIB);
    about("MemAvailable", change.available, -N * MIB);
    about("MemFree", change.free, -N * MIB);
    about("working_set", change.working_set, N * MIB);
}

/// Memory above a limit that is lowered goes to swap.
fn swap() {
    let mut subject = Subject::new();
    subject.actor.tell("anon 64");
    let before = subject.see();
    subject.container.set_limit(40 << 20);
    let change = subject.see().less(&before);
    println!("response: {:24} {change:?}", "swap out");
    let swapped: i64 = i64::try_from(subject.container.swapped() / 1024).unwrap();
    assert!(swapped > 20 * MIB, "{swapped} kB swapped");
    about("SwapFree", change.swap_free, -swapped);
    about("working_set", change.working_set, -swapped);
}

/// While nothing runs in the container, `working_set` is what another program computes from the container's
/// own files.
fn working_set_is_the_formula_to_the_byte() {
    let disk = Disk::new();
    let file = disk.file("file", 20);
    let mut subject = Subject::new();
    subject.actor.tell("anon 10");
    subject.actor.tell(&format!("read {file}"));
    let pid = subject.actor.pid();
    let _stopped = crate::common::Stopped::new(pid);
    for attempt in 0.. {
        std::thread::sleep(Duration::from_secs(4));
        let shown =
            output(crate::common::cgprocfs().args(["show", "--pid", &pid.to_string(), "working_set"]));
        let shown: u64 = shown.trim().parse().unwrap();
        let inactive = subject.container.stat("total_inactive_file", "inactive_file");
        let expected = subject.container.usage() - inactive;
        println!("response: working_set {shown}, by the files {expected}");
        assert!(inactive > 10 << 20 || expected > 20 << 20, "nothing was cached");
        if shown == expected {
            break;
        }
        assert!(attempt < 3, "{shown} is not {expected}");
    }
}
