//! Memory and swap together.

use super::{MIB, actor, alone, hold, in_mib, settle};
use crate::common::cgroup::Cgroup;
use crate::common::daemon::Daemon;
use crate::common::helper::Actor;
use crate::common::{Need, field, output, wait_until};
use libtest_mimic::Trial;

pub fn tests() -> Vec<Trial> {
    tests! {
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

const SWAP: &[Need] = &[Need::Root, Need::Fuse, Need::Swap];

const SWAP_V1: &[Need] = &[Need::Root, Need::Fuse, Need::Swap, Need::CgroupV1];

const SWAP_GUEST: &[Need] = &[Need::Root, Need::Fuse, Need::Swap, Need::Emulation];

const ZSWAP: &[Need] = &[Need::Root, Need::Fuse, Need::CgroupV2, Need::Swap, Need::Zswap, Need::Emulation];

/// The same with swap.
fn check_with_swap(case: &str, daemon: &Daemon, container: &Cgroup, about: std::ops::RangeInclusive<u64>) {
    settle();
    hold(case, Actor::start(container).grow_with_swap(&daemon.meminfo()), about);
}

/// A container with swap of its own.
fn swap() {
    let (daemon, container) = (Daemon::start(), Cgroup::new().limit_with_swap(40, 24));
    // What kernels have where nobody says, and what the others of these tests are made with.
    let _swappiness = Swappiness::set(&[&container], "60");
    let _actor = actor(&container, &["anon 8"]);
    check_with_swap("swap", &daemon, &container, 52..=57);
}

/// A container that has swapped some out.
fn swap_used_in_part() {
    let (daemon, container) = (Daemon::start(), Cgroup::new().limit_with_swap(40, 24));
    let _actor = actor(&container, &["anon 50"]);
    assert!(container.swapped() > 8 << 20);
    check_with_swap("swap, used in part", &daemon, &container, 10..=15);
}

/// A pod of `limit` and `swap` MiB: the container, without a limit of its own, and a sibling in which
/// `orders` are done.
fn pod_with_swap(limit: u64, swap: u64, orders: &[&str]) -> (Cgroup, Cgroup, Cgroup, Actor) {
    let pod = Cgroup::new().limit_with_swap(limit, swap);
    let (container, sibling) = (pod.child("container"), pod.child("sibling"));
    let actor = actor(&sibling, orders);
    (pod, container, sibling, actor)
}

/// A limit on the swap of the pod.
fn swap_of_a_pod() {
    let daemon = Daemon::start();
    let (_pod, container, _sibling, _actor) = pod_with_swap(40, 24, &["anon 8"]);
    check_with_swap("pod's swap", &daemon, &container, 52..=57);
}

/// A sibling has filled the pod's swap.
fn swap_of_a_pod_that_a_sibling_fills() {
    let daemon = Daemon::start();
    let (_pod, container, _sibling, _actor) = pod_with_swap(40, 24, &["anon 59"]);
    check_with_swap("pod's swap, filled by a sibling", &daemon, &container, 1..=5);
}

/// A sibling has filled half of it.
fn swap_of_a_pod_that_a_sibling_fills_in_part() {
    let daemon = Daemon::start();
    let (_pod, container, sibling, _actor) = pod_with_swap(40, 40, &["anon 56"]);
    assert!(sibling.swapped() > 12 << 20);
    check_with_swap("pod's swap, filled in part by a sibling", &daemon, &container, 20..=25);
}

/// Of the limit of v1 on memory and swap together the sibling has the most in swap: memory that nobody has is
/// not available.
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

/// So it is where the limit is the pod's.
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

/// Nor does the kernel swap for want of the host's own memory. What the host keeps as a reserve can be had,
/// as without swap.
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

/// What zswap holds is swapped out, and takes memory of the container all the same: of these pages, which are
/// all but empty, as good as none. Of others it is as much as is left of them, which nobody knows before.
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
