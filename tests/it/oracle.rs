//! The allocation oracle: `MemAvailable` is what a process can really allocate before the kernel kills it.
//!
//! In each case a process in the container reads MemAvailable and then touches memory until it is killed. It has
//! to reach 1 MiB less than it read, and must not reach 2 MiB more. So much holds of `MemAvailable` and `SwapFree` together
//! where there is swap.

use crate::common::cgroup::Cgroup;
use crate::common::daemon::Daemon;
use crate::common::disk::Disk;
use crate::common::helper::{Actor, command};
use crate::common::{MOUNT, Need, field, host_total, output, test, wait_until};
use libtest_mimic::Trial;
use std::sync::{PoisonError, RwLock};

const V2: &[Need] = &[Need::Root, Need::Fuse, Need::CgroupV2];
const NODES: &[Need] = &[Need::Root, Need::Fuse, Need::MemoryNodes, Need::Emulation];
const SWAP: &[Need] = &[Need::Root, Need::Fuse, Need::Swap];
const SWAP_V1: &[Need] = &[Need::Root, Need::Fuse, Need::Swap, Need::CgroupV1];
const SWAP_GUEST: &[Need] = &[Need::Root, Need::Fuse, Need::Swap, Need::Emulation];
const GUEST: &[Need] = &[Need::Root, Need::Fuse, Need::Emulation];

pub fn tests() -> Vec<Trial> {
    tests! {
        beside(MOUNT) => [
            anonymous_memory,
            cache_read_once,
            cache_read_again,
            tmpfs,
            locked_program,
            all_of_it_together,
            sibling_with_anonymous_memory,
            sibling_with_cache,
            limit_lowered_onto_cache,
        ],
        beside(V2) => [
            sibling_with_protected_cache,
            sibling_with_protected_anonymous_memory,
            sibling_protected_in_part,
            limit_lowered_below_usage,
        ],
        alone(MOUNT) => [
            limit_above_the_hosts_memory,
            no_limit,
        ],
        alone(GUEST) => [
            no_limit_until_the_host_is_full,
        ],
        alone(NODES) => [
            one_memory_node,
        ],
        alone(SWAP) => [
            swap,
            swap_used_in_part,
            swap_of_a_pod,
            swap_of_a_pod_that_a_sibling_fills,
            swap_of_a_pod_that_a_sibling_fills_in_part,
            swappiness_0,
            swappiness_0_of_a_pod,
            swappiness_0_after_some_was_swapped,
        ],
        alone(SWAP_V1) => [
            memory_of_a_pod_whose_swap_a_sibling_fills,
        ],
        alone(SWAP_GUEST) => [
            swappiness_0_without_a_limit,
        ],
        alone(ZSWAP) => [
            zswap,
        ],
    }
}

const ZSWAP: &[Need] = &[Need::Root, Need::Fuse, Need::CgroupV2, Need::Swap, Need::Zswap, Need::Emulation];

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
    settle();
    hold(case, Actor::start(container).grow(&daemon.meminfo()), about);
}

/// The same with swap.
fn check_with_swap(case: &str, daemon: &Daemon, container: &Cgroup, about: std::ops::RangeInclusive<u64>) {
    settle();
    hold(case, Actor::start(container).grow_with_swap(&daemon.meminfo()), about);
}

/// The kernel folds its counters together every two seconds.
fn settle() {
    std::thread::sleep(std::time::Duration::from_millis(2500));
}

fn hold(case: &str, (predicted, reached): (u64, u64), about: std::ops::RangeInclusive<u64>) {
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

/// Of two nodes a container may use the second one, and no limit binds it.
fn one_memory_node() {
    let (daemon, container) = (Daemon::start(), Cgroup::new());
    let cpuset = container.in_cpuset("1");
    let words = command("actor", &[]);
    let words = cpuset.entering(&words);
    let words: Vec<&str> = words.iter().map(|word| &**word).collect();
    let node = std::fs::read_to_string("/sys/devices/system/node/node1/meminfo").unwrap();
    let node = field(&node.replace("Node 1 ", ""), "MemTotal");
    let mut actor = Actor::spawn(&mut container.command(&words));
    let text = actor.tell(&format!("show {}", daemon.meminfo()));
    assert_eq!(field(&text, "MemTotal"), node);
    let (predicted, reached) = actor.grow(&daemon.meminfo());
    println!(
        "oracle: {:40} predicted {:7.2} MiB, allocatable {:7.2} MiB or more",
        "one of two memory nodes",
        in_mib(predicted),
        in_mib(reached)
    );
    assert!(predicted > node / 2 && predicted < node, "{predicted} of {node} kB");
    assert!(reached + predicted / 50 >= predicted, "{predicted} kB predicted, killed at {reached} kB");
    wait_until("the memory is given back", || container.usage() < 64 << 20);
}

fn swap() {
    let (daemon, container) = (Daemon::start(), Cgroup::new().limit_with_swap(40, 24));
    // What kernels have where nobody says, and what the others of these tests are made with.
    let _swappiness = Swappiness::set(&[&container], "60");
    let _actor = actor(&container, &["anon 8"]);
    check_with_swap("swap", &daemon, &container, 52..=57);
}

fn swap_used_in_part() {
    let (daemon, container) = (Daemon::start(), Cgroup::new().limit_with_swap(40, 24));
    let _actor = actor(&container, &["anon 50"]);
    assert!(container.swapped() > 8 << 20);
    check_with_swap("swap, used in part", &daemon, &container, 10..=15);
}

/// A pod of `limit` and `swap` MiB: the container, without a limit of its own, and a sibling in which `orders` are done.
fn pod_with_swap(limit: u64, swap: u64, orders: &[&str]) -> (Cgroup, Cgroup, Cgroup, Actor) {
    let pod = Cgroup::new().limit_with_swap(limit, swap);
    let (container, sibling) = (pod.child("container"), pod.child("sibling"));
    let actor = actor(&sibling, orders);
    (pod, container, sibling, actor)
}

fn swap_of_a_pod() {
    let daemon = Daemon::start();
    let (_pod, container, _sibling, _actor) = pod_with_swap(40, 24, &["anon 8"]);
    check_with_swap("pod's swap", &daemon, &container, 52..=57);
}

fn swap_of_a_pod_that_a_sibling_fills() {
    let daemon = Daemon::start();
    let (_pod, container, _sibling, _actor) = pod_with_swap(40, 24, &["anon 59"]);
    check_with_swap("pod's swap, filled by a sibling", &daemon, &container, 1..=5);
}

fn swap_of_a_pod_that_a_sibling_fills_in_part() {
    let daemon = Daemon::start();
    let (_pod, container, sibling, _actor) = pod_with_swap(40, 40, &["anon 56"]);
    assert!(sibling.swapped() > 12 << 20);
    check_with_swap("pod's swap, filled in part by a sibling", &daemon, &container, 20..=25);
}

/// Of the limit of v1 on memory and swap together the sibling has the most in swap: memory that nobody has is not available.
fn memory_of_a_pod_whose_swap_a_sibling_fills() {
    let daemon = Daemon::start();
    let pod = Cgroup::new().limit_with_swap(40, 24);
    let (container, sibling) = (pod.child("container"), pod.child("sibling").limit(10));
    let _actor = actor(&sibling, &["anon 50"]);
    assert!(sibling.swapped() > 38 << 20);
    let text = output(&mut container.command(&["cat", &daemon.meminfo()]));
    assert!((10 * MIB..15 * MIB).contains(&field(&text, "MemAvailable")), "{text}");
    check_with_swap("pod's memory, its swap filled by a sibling", &daemon, &container, 10..=15);
}

/// How readily memory is swapped: of one cgroup on v1, of all on v2 until this goes out of scope.
struct Swappiness(Option<String>);

impl Swappiness {
    const FILE: &'static str = "/proc/sys/vm/swappiness";

    fn set(cgroups: &[&Cgroup], value: &str) -> Self {
        if cgroups.iter().all(|cgroup| cgroup.dir.join("memory.swappiness").exists()) {
            cgroups.iter().for_each(|cgroup| cgroup.write("memory.swappiness", value));
            return Self(None);
        }
        let before = std::fs::read_to_string(Self::FILE).unwrap();
        std::fs::write(Self::FILE, value).unwrap();
        Self(Some(before))
    }
}

impl Drop for Swappiness {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            std::fs::write(Self::FILE, before).unwrap();
        }
    }
}

/// The kernel kills a cgroup at its limit rather than swap it.
fn swappiness_0() {
    let (daemon, container) = (Daemon::start(), Cgroup::new().limit_with_swap(40, 24));
    let _actor = actor(&container, &["anon 8"]);
    let _swappiness = Swappiness::set(&[&container], "0");
    let text = output(&mut container.command(&["cat", &daemon.meminfo()]));
    assert_eq!((field(&text, "SwapTotal"), field(&text, "SwapFree")), (0, 0), "{text}");
    check_with_swap("swappiness 0", &daemon, &container, 28..=33);
    assert_eq!(container.swapped(), 0);
}

fn swappiness_0_of_a_pod() {
    let daemon = Daemon::start();
    let (_pod, container, sibling, _actor) = pod_with_swap(40, 24, &["anon 20"]);
    let _swappiness = Swappiness::set(&[&container, &sibling], "0");
    check_with_swap("swappiness 0, pod's limit", &daemon, &container, 16..=21);
}

/// What is in swap is still there, and no more comes to it.
fn swappiness_0_after_some_was_swapped() {
    let (daemon, container) = (Daemon::start(), Cgroup::new().limit_with_swap(40, 24));
    let mut first = actor(&container, &["anon 30"]);
    drop(actor(&container, &["anon 22"]));
    let _swappiness = Swappiness::set(&[&container], "0");
    settle();
    let text = first.tell(&format!("show {}", daemon.meminfo()));
    let swapped = container.swapped() >> 10;
    assert!(field(&text, "SwapTotal").abs_diff(swapped) < MIB && swapped > 8 * MIB, "{swapped} kB: {text}");
    assert_eq!(field(&text, "SwapFree"), 0, "{text}");
    check_with_swap("swappiness 0, some in swap", &daemon, &container, 12..=28);
}

/// Nor does the kernel swap for want of the host's own memory. What the host keeps as a reserve can be had, as without swap.
fn swappiness_0_without_a_limit() {
    let (daemon, container) = (Daemon::start(), Cgroup::new());
    let _swappiness = Swappiness::set(&[&container], "0");
    let (predicted, reached) = Actor::start(&container).grow_with_swap(&daemon.meminfo());
    println!(
        "oracle: {:40} predicted {:7.2} MiB, allocatable {:7.2} MiB or more",
        "swappiness 0, no limit",
        in_mib(predicted),
        in_mib(reached)
    );
    assert!(reached + predicted / 100 >= predicted, "{predicted} kB predicted, killed at {reached} kB");
    assert!(container.swapped() < 1 << 20);
    let text = output(&mut container.command(&["cat", &daemon.meminfo()]));
    assert_eq!((field(&text, "SwapTotal"), field(&text, "SwapFree")), (0, 0), "{text}");
    wait_until("the memory is given back", || container.usage() < 64 << 20);
}

/// What zswap holds is swapped out, and takes memory of the container all the same: of these pages, which are all but empty, as
/// good as none. Of others it is as much as is left of them, which nobody knows before.
fn zswap() {
    let (daemon, container) = (Daemon::start(), Cgroup::new().limit_with_swap(40, 24));
    let mut actor = actor(&container, &["anon 50"]);
    settle();
    let text = actor.tell(&format!("show {}", daemon.meminfo()));
    let [swapped, takes] = ["zswapped", "zswap"].map(|key| container.stat("", key) >> 10);
    assert!(swapped > 8 * MIB && takes > 64, "{swapped} kB in {takes} kB: {text}");
    assert!(field(&text, "Zswapped").abs_diff(swapped) < MIB, "{swapped} kB: {text}");
    assert!(field(&text, "Zswap").abs_diff(takes) < 64, "{takes} kB: {text}");
    let used = field(&text, "SwapTotal") - field(&text, "SwapFree");
    assert!(field(&text, "Zswapped") <= used && used.abs_diff(container.swapped() >> 10) < MIB, "{text}");
    drop(actor);
    check_with_swap("zswap", &daemon, &container, 58..=64);
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
