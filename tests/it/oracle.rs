//! The allocation oracle: `MemAvailable` is what a process can really allocate before the kernel kills it.
//!
//! In each case a process in the container reads MemAvailable and then touches memory until it is killed. It
//! has to reach 1 MiB less than it read, and must not reach 2 MiB more. So much holds of `MemAvailable` and
//! `SwapFree` together where there is swap.

mod container;
mod host;
mod sibling;
mod swap;

use crate::common::cgroup::Cgroup;
use crate::common::daemon::Daemon;
use crate::common::helper::Actor;
use crate::common::{Need, test};
use libtest_mimic::Trial;
use std::sync::{PoisonError, RwLock};

pub fn tests() -> Vec<Trial> {
    [container::tests(), sibling::tests(), host::tests(), swap::tests()].into_iter().flatten().collect()
}

const V2: &[Need] = &[Need::Root, Need::Fuse, Need::CgroupV2];

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

/// A pod of `limit` MiB: the container, of `own` MiB, and a sibling in which `orders` are done.
fn pod(limit: u64, own: u64, orders: &[&str]) -> (Cgroup, Cgroup, Cgroup, Actor) {
    let pod = container(limit);
    let (container, sibling) = (pod.child("container").limit(own).no_swap(), pod.child("sibling").no_swap());
    let actor = actor(&sibling, orders);
    (pod, container, sibling, actor)
}
