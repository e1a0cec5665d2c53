//! A container beside another one, below a limit that both share.

use super::{V2, beside, check, pod};
use crate::common::MOUNT;
use crate::common::daemon::Daemon;
use crate::common::disk::Disk;
use libtest_mimic::Trial;

pub fn tests() -> Vec<Trial> {
    tests! {
        beside(MOUNT) => [
            sibling_with_anonymous_memory,
            sibling_with_cache,
        ],
        beside(V2) => [
            sibling_with_protected_cache,
            sibling_with_protected_anonymous_memory,
            sibling_protected_in_part,
        ],
    }
}

/// A sibling holds memory of the limit that both share.
fn sibling_with_anonymous_memory() {
    let daemon = Daemon::start();
    let (_pod, container, _sibling, _actor) = pod(64, 50, &["anon 40"]);
    check("pod's limit, sibling's anonymous memory", &daemon, &container, 20..=24);
}

/// A sibling has page cache, which gives way.
fn sibling_with_cache() {
    let (daemon, disk) = (Daemon::start(), Disk::new());
    let read = format!("read {}", disk.file("cache", 30));
    let (_pod, container, _sibling, _actor) = pod(48, 48, &[&read]);
    check("pod's limit, sibling's cache", &daemon, &container, 44..=48);
}

/// A sibling has page cache that `memory.min` protects, which does not.
fn sibling_with_protected_cache() {
    let (daemon, disk) = (Daemon::start(), Disk::new());
    let read = format!("read {}", disk.file("cache", 29));
    let (_pod, container, sibling, _actor) = pod(48, 48, &[&read]);
    sibling.write("memory.min", "32M");
    check("pod's limit, sibling's memory.min, cache", &daemon, &container, 15..=19);
}

/// What can't be reclaimed anyway needs no protection.
fn sibling_with_protected_anonymous_memory() {
    let daemon = Daemon::start();
    let (_pod, container, sibling, _actor) = pod(48, 48, &["anon 29"]);
    sibling.write("memory.min", "32M");
    check("pod's limit, sibling's memory.min, anon", &daemon, &container, 15..=19);
}

/// A sibling has more cache than `memory.min` protects.
fn sibling_protected_in_part() {
    let (daemon, disk) = (Daemon::start(), Disk::new());
    let read = format!("read {}", disk.file("cache", 30));
    let (_pod, container, sibling, _actor) = pod(64, 64, &["anon 8", &read]);
    sibling.write("memory.min", "20M");
    check("pod's limit, memory.min below the usage", &daemon, &container, 41..=45);
}
