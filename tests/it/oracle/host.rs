//! Containers that the host's memory binds, or that of some of its nodes.

use super::{MIB, alone, in_mib};
use crate::common::cgroup::Cgroup;
use crate::common::daemon::Daemon;
use crate::common::helper::{Actor, command};
use crate::common::{MOUNT, Need, field, host_total, output, wait_until};
use libtest_mimic::Trial;

pub fn tests() -> Vec<Trial> {
    tests! {
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
    }
}

const NODES: &[Need] = &[Need::Root, Need::Fuse, Need::MemoryNodes, Need::Emulation];

const GUEST: &[Need] = &[Need::Root, Need::Fuse, Need::Emulation];

/// All that the host has, less what nobody can promise: the host's own figure, read at nearly the same time.
fn is_the_hosts(text: &str) {
    let host = std::fs::read_to_string("/proc/meminfo").unwrap();
    assert_eq!(field(text, "MemTotal"), host_total());
    let (ours, hosts) = (field(text, "MemAvailable"), field(&host, "MemAvailable"));
    assert!(ours.abs_diff(hosts) < 32 * MIB, "{ours} kB, the host says {hosts} kB");
}

/// A limit that is above the host's memory binds nothing.
fn limit_above_the_hosts_memory() {
    let (daemon, container) = (Daemon::start(), Cgroup::new());
    container.set_limit((host_total() << 10) + (1 << 30));
    is_the_hosts(&output(&mut container.command(&["cat", &daemon.meminfo()])));
}

/// A container without a limit has what the host has.
fn no_limit() {
    let (daemon, container) = (Daemon::start(), Cgroup::new());
    is_the_hosts(&output(&mut container.command(&["cat", &daemon.meminfo()])));
}

/// The host's MemAvailable is the kernel's own estimate, and as good as that: it keeps a reserve, which can
/// be allocated, and counts on cache, not all of which it gives up. What is seen is half a percent either
/// way.
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
