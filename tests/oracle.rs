//! The allocation oracle: `MemAvailable` is what a process can really allocate before the kernel kills it.
//!
//! In each case a process in the container reads MemAvailable and then touches memory until it is killed. It has
//! to reach 1 MiB less than it read, and must not reach 2 MiB more.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::cgroup::Cgroup;
use common::daemon::Daemon;
use common::disk::Disk;
use common::helper::{Actor, command};
use common::{MOUNT, Need, field, host_total, main as run, output, test, wait_until};
use libtest_mimic::Trial;
use std::process::ExitCode;
use std::sync::{PoisonError, RwLock};

const V2: &[Need] = &[Need::Root, Need::Fuse, Need::CgroupV2];
const GUEST: &[Need] = &[Need::Root, Need::Fuse, Need::Emulation];

fn main() -> ExitCode {
    run(vec![
        beside("anonymous_memory", MOUNT, anonymous_memory),
        beside("cache_read_once", MOUNT, cache_read_once),
        beside("cache_read_again", MOUNT, cache_read_again),
        beside("tmpfs", MOUNT, tmpfs),
        beside("locked_program", MOUNT, locked_program),
        beside("all_of_it_together", MOUNT, all_of_it_together),
        beside("sibling_with_anonymous_memory", MOUNT, sibling_with_anonymous_memory),
        beside("sibling_with_cache", MOUNT, sibling_with_cache),
        beside("sibling_with_protected_cache", V2, sibling_with_protected_cache),
        beside("sibling_with_protected_anonymous_memory", V2, sibling_with_protected_anonymous_memory),
        beside("sibling_protected_in_part", V2, sibling_protected_in_part),
        beside("limit_lowered_onto_cache", MOUNT, limit_lowered_onto_cache),
        beside("limit_lowered_below_usage", V2, limit_lowered_below_usage),
        alone("limit_above_the_hosts_memory", MOUNT, limit_above_the_hosts_memory),
        alone("no_limit", MOUNT, no_limit),
        alone("no_limit_until_the_host_is_full", GUEST, no_limit_until_the_host_is_full),
    ])
}

/// Whether the host's memory may be used by others meanwhile.
static HOST: RwLock<()> = RwLock::new(());

/// A test that may run beside others of its kind.
fn beside(name: &str, needs: &'static [Need], body: fn()) -> Trial {
    test(name, needs, move || {
        let _shared = HOST.read().unwrap_or_else(PoisonError::into_inner);
        body();
    })
}

/// One that looks at the host's memory.
fn alone(name: &str, needs: &'static [Need], body: fn()) -> Trial {
    test(name, needs, move || {
        let _alone = HOST.write().unwrap_or_else(PoisonError::into_inner);
        body();
    })
}

const MIB: u64 = 1 << 10;

/// Lets a new process of the container allocate, and holds what it reached against what it had read, and that
/// against `about`, in MiB.
fn check(case: &str, daemon: &Daemon, container: &Cgroup, about: std::ops::RangeInclusive<u64>) {
    // The kernel folds its counters together every two seconds.
    std::thread::sleep(std::time::Duration::from_millis(2500));
    let (predicted, reached) = Actor::start(container).grow(&daemon.meminfo());
    println!(
        "oracle: {case:40} predicted {:7.2} MiB, allocatable {:7.2} MiB",
        in_mib(predicted),
        in_mib(reached)
    );
    assert!(reached + MIB >= predicted, "{case}: {predicted} kB predicted, killed at {reached} kB");
    assert!(reached < predicted + 2 * MIB, "{case}: {predicted} kB predicted, alive at {reached} kB");
    assert!(about.contains(&(predicted / MIB)), "{case}: {predicted} kB is not about {about:?} MiB");
}

#[allow(clippy::cast_precision_loss)]
fn in_mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

fn container(mib: u64) -> Cgroup {
    Cgroup::new().limit(mib).no_swap()
}

fn actor(cgroup: &Cgroup, orders: &[&str]) -> Actor {
    let mut actor = Actor::start(cgroup);
    for order in orders {
        actor.tell(order);
    }
    actor
}

fn anonymous_memory() {
    let (daemon, container) = (Daemon::start(), container(64));
    let _actor = actor(&container, &["anon 20"]);
    check("anonymous memory", &daemon, &container, 41..=44);
}

fn cache_read_once() {
    let (daemon, container, disk) = (Daemon::start(), container(64), Disk::new());
    let file = disk.file("once", 30);
    let _actor = actor(&container, &["anon 8", &format!("read {file}")]);
    check("cache read once", &daemon, &container, 53..=56);
}

fn cache_read_again() {
    let (daemon, container, disk) = (Daemon::start(), container(64), Disk::new());
    let file = disk.file("again", 30);
    let read = format!("read {file}");
    let _actor = actor(&container, &["anon 8", &read, &read, &read]);
    check("cache read again and again", &daemon, &container, 53..=56);
}

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

fn all_of_it_together() {
    let (daemon, container, disk) = (Daemon::start(), container(64), Disk::new());
    let (shm, once, again) = (Shm::new(), disk.file("once", 20), disk.file("again", 10));
    let again = format!("read {again}");
    let write = format!("write {} 8", shm.path());
    let _actor = actor(&container, &["anon 8", &write, &format!("read {once}"), &again, &again]);
    check("anonymous, tmpfs, cache of both lists", &daemon, &container, 45..=48);
}

/// A pod of `limit` MiB: the container, of `own` MiB, and a sibling in which `orders` are done.
fn pod(limit: u64, own: u64, orders: &[&str]) -> (Cgroup, Cgroup, Cgroup, Actor) {
    let pod = container(limit);
    let (container, sibling) = (pod.child("container").limit(own).no_swap(), pod.child("sibling").no_swap());
    let actor = actor(&sibling, orders);
    (pod, container, sibling, actor)
}

fn sibling_with_anonymous_memory() {
    let daemon = Daemon::start();
    let (_pod, container, _sibling, _actor) = pod(64, 50, &["anon 40"]);
    check("pod's limit, sibling's anonymous memory", &daemon, &container, 20..=24);
}

fn sibling_with_cache() {
    let (daemon, disk) = (Daemon::start(), Disk::new());
    let read = format!("read {}", disk.file("cache", 30));
    let (_pod, container, _sibling, _actor) = pod(48, 48, &[&read]);
    check("pod's limit, sibling's cache", &daemon, &container, 44..=48);
}

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

fn sibling_protected_in_part() {
    let (daemon, disk) = (Daemon::start(), Disk::new());
    let read = format!("read {}", disk.file("cache", 30));
    let (_pod, container, sibling, _actor) = pod(64, 64, &["anon 8", &read]);
    sibling.write("memory.min", "20M");
    check("pod's limit, memory.min below the usage", &daemon, &container, 41..=45);
}

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
    let text = output(common::cgprocfs().args(show));
    assert_eq!((field(&text, "MemTotal"), field(&text, "MemFree")), (32 * MIB, 0));
    assert_eq!(field(&text, "MemAvailable"), 4, "a page: 0 would make programs compute their own");
    let starts = common::finish(&mut container.command(&["true"])).status.success();
    println!(
        "oracle: {:40} predicted    0.00 MiB, a program {}",
        "limit lowered below usage",
        if starts { "starts" } else { "is killed" }
    );
    assert!(!starts, "there is no memory to start a program in");
}

/// All that the host has, less what nobody can promise: the host's own figure, read at nearly the same time.
fn is_the_hosts(text: &str) {
    let host = std::fs::read_to_string("/proc/meminfo").unwrap();
    assert_eq!(field(text, "MemTotal"), host_total());
    let (ours, hosts) = (field(text, "MemAvailable"), field(&host, "MemAvailable"));
    assert!(ours.abs_diff(hosts) < 32 * MIB, "{ours} kB, the host says {hosts} kB");
}

fn limit_above_the_hosts_memory() {
    let (daemon, container) = (Daemon::start(), Cgroup::new());
    container.set_limit((host_total() << 10) + (1 << 30));
    is_the_hosts(&output(&mut container.command(&["cat", &daemon.meminfo()])));
}

fn no_limit() {
    let (daemon, container) = (Daemon::start(), Cgroup::new());
    is_the_hosts(&output(&mut container.command(&["cat", &daemon.meminfo()])));
}

/// The host's MemAvailable is the kernel's own estimate, and as good as that: it keeps a reserve, which can be
/// allocated, and counts on cache, not all of which it gives up. What is seen is half a percent either way.
fn no_limit_until_the_host_is_full() {
    let (daemon, container) = (Daemon::start(), Cgroup::new());
    let (predicted, reached) = Actor::start(&container).grow(&daemon.meminfo());
    println!(
        "oracle: {:40} predicted {:7.2} MiB, allocatable {:7.2} MiB or more",
        "no limit",
        in_mib(predicted),
        in_mib(reached)
    );
    assert!(reached + predicted / 100 >= predicted, "{predicted} kB predicted, killed at {reached} kB");
    wait_until("the memory is given back", || container.usage() < 64 << 20);
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
