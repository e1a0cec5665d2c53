//! A container by itself.

use super::{MIB, V2, actor, beside, check, container};
use crate::common::daemon::Daemon;
use crate::common::disk::Disk;
use crate::common::helper::{Actor, command};
use crate::common::{MOUNT, field, output};
use libtest_mimic::Trial;

pub fn tests() -> Vec<Trial> {
    tests! {
        beside(MOUNT) => [
            anonymous_memory,
            cache_read_once,
            cache_read_again,
            tmpfs,
            locked_program,
            all_of_it_together,
            limit_lowered_onto_cache,
        ],
        beside(V2) => [
            limit_lowered_below_usage,
        ],
    }
}

/// A program holds anonymous memory.
fn anonymous_memory() {
    let (daemon, container) = (Daemon::start(), container(64));
    let _actor = actor(&container, &["anon 20"]);
    check("anonymous memory", &daemon, &container, 41..=44);
}

/// Page cache on the inactive list.
fn cache_read_once() {
    let (daemon, container, disk) = (Daemon::start(), container(64), Disk::new());
    let file = disk.file("once", 30);
    let _actor = actor(&container, &["anon 8", &format!("read {file}")]);
    check("cache read once", &daemon, &container, 53..=56);
}

/// Page cache on the active list.
fn cache_read_again() {
    let (daemon, container, disk) = (Daemon::start(), container(64), Disk::new());
    let file = disk.file("again", 30);
    let read = format!("read {file}");
    let _actor = actor(&container, &["anon 8", &read, &read, &read]);
    check("cache read again and again", &daemon, &container, 53..=56);
}

/// Files in a tmpfs, which cannot be reclaimed without swap.
fn tmpfs() {
    let (daemon, container) = (Daemon::start(), container(64));
    let shm = Shm::new();
    let _actor = actor(&container, &["anon 8", &format!("write {} 20", shm.path())]);
    check("tmpfs", &daemon, &container, 33..=36);
}

/// Page cache that is locked: a program whose pages only the container has in memory.
fn locked_program() {
    let (daemon, container, disk) = (Daemon::start(), container(64), Disk::new());
    let program = disk.copy(&std::env::current_exe().unwrap());
    let mut words = command("actor", &[]);
    words[0] = program;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut locked = Actor::spawn(&mut container.command(&words));
    locked.tell("lock");
    let text = output(&mut container.command(&["cat", &daemon.meminfo()]));
    assert!(field(&text, "Unevictable") > 2 * MIB, "{text}");
    check("locked page cache", &daemon, &container, 45..=62);
}

/// All of these in one container.
fn all_of_it_together() {
    let (daemon, container, disk) = (Daemon::start(), container(64), Disk::new());
    let (shm, once, again) = (Shm::new(), disk.file("once", 20), disk.file("again", 10));
    let again = format!("read {again}");
    let write = format!("write {} 8", shm.path());
    let _actor = actor(&container, &["anon 8", &write, &format!("read {once}"), &again, &again]);
    check("anonymous, tmpfs, cache of both lists", &daemon, &container, 45..=48);
}

/// The limit is lowered to where it pushes page cache out.
fn limit_lowered_onto_cache() {
    let (daemon, container, disk) = (Daemon::start(), container(64), Disk::new());
    let read = format!("read {}", disk.file("cache", 40));
    let _actor = actor(&container, &["anon 8", &read]);
    container.set_limit(32 << 20);
    check("limit lowered onto page cache", &daemon, &container, 21..=24);
}

/// cgroup v1 refuses such a limit. v2 kills to reach it, but whom it may not kill stays above it.
fn limit_lowered_below_usage() {
    let container = container(64);
    let mut actor = Actor::start(&container);
    std::fs::write(format!("/proc/{}/oom_score_adj", actor.pid()), "-1000").unwrap();
    actor.tell("anon 40");
    container.set_limit(32 << 20);
    let show = ["show", "--pid", &actor.pid().to_string()];
    let text = output(crate::common::cgprocfs().args(show));
    assert_eq!((field(&text, "MemTotal"), field(&text, "MemFree")), (32 * MIB, 0));
    assert_eq!(field(&text, "MemAvailable"), 4, "a page: 0 would make programs compute their own");
    let starts = crate::common::finish(&mut container.command(&["true"])).status.success();
    println!(
        "oracle: {:40} predicted    0.00 MiB, a program {}",
        "limit lowered below usage",
        if starts { "starts" } else { "is killed" }
    );
    assert!(!starts, "there is no memory to start a program in");
}

/// A file in memory, removed when it goes out of scope.
struct Shm(tempfile::TempDir);

impl Shm {
    fn new() -> Self {
        Self(tempfile::tempdir_in("/dev/shm").unwrap())
    }

    fn path(&self) -> String {
        self.0.path().join("file").to_str().unwrap().to_string()
    }
}
