//! Processors of a container that gives some to partitions below it, held against what the kernel lets the
//! container's processes run on.

use crate::common::cgroup::Cgroup;
use crate::common::daemon::Daemon;
use crate::common::helper::{Running, start};
use crate::common::{Need, kernel_is_at_least, test};
use libtest_mimic::Trial;
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

pub fn tests() -> Vec<Trial> {
    const PARTITIONS: &[Need] = &[Need::Root, Need::Fuse, Need::CgroupV2, Need::Processors(4)];
    // What one has in a partition no other can have.
    static PROCESSORS: Mutex<()> = Mutex::new(());
    const EXCLUSIVE: &[Need] =
        &[Need::Root, Need::Fuse, Need::CgroupV2, Need::Processors(4), Need::Kernel(6, 7)];
    let alone = |name: &str, needs, body: fn()| {
        test(name, needs, move || {
            let _alone = PROCESSORS.lock().unwrap_or_else(PoisonError::into_inner);
            body();
        })
    };
    tests! {
        alone(PARTITIONS) => [
            some_are_given_away,
            all_are_given_away,
            a_sub_cgroup_of_crun_is_isolated,
        ],
        alone(EXCLUSIVE) => [
            some_are_given_away_by_no_partition,
        ],
    }
}

/// Has cpusets in the cgroups below this one.
fn enable(cgroup: &std::path::Path) {
    fs::write(cgroup.join("cgroup.subtree_control"), "+cpuset").unwrap();
}

/// A container, the root of the cgroup namespace of its processes, with sub-cgroups in each of which one of
/// them is, and of each what its process reads of the view.
struct Container {
    daemon: Daemon,
    cgroup: Cgroup,
    processes: Vec<(Cgroup, Running)>,
}

impl Container {
    fn new(processors: &str, below: &[&str]) -> Self {
        let (daemon, cgroup) = (Daemon::start(), Cgroup::new());
        enable(cgroup.dir.parent().unwrap());
        cgroup.write("cpuset.cpus", processors);
        let view = daemon.path("sys/devices/system/cpu/online");
        let start_in = |name: &&str| {
            let child = cgroup.bare_child(name);
            let script = "echo 0 > \"$0/cgroup.procs\" && exec unshare --cgroup sh -c '
                echo 0 > \"$1/cgroup.procs\" && echo ready && while read -r line; do cat \"$0\"; done' \"$2\" \"$1\"";
            let mut command = Command::new("sh");
            command.args(["-c", script]).args([&cgroup.dir, &child.dir, &view]);
            (child, start(&mut command))
        };
        let processes: Vec<_> = below.iter().map(start_in).collect();
        enable(&cgroup.dir);
        Self { daemon, cgroup, processes }
    }

    /// Makes the container, or one of its sub-cgroups, a partition.
    fn partition(cgroup: &Cgroup, kind: &str) {
        cgroup.write("cpuset.cpus.partition", kind);
        let now = fs::read_to_string(cgroup.dir.join("cpuset.cpus.partition")).unwrap();
        assert_eq!(now.trim(), kind, "{}", cgroup.dir.display());
    }

    /// What all of its processes read, and how many processors the kernel lets any of them run on.
    fn check(&mut self, expected: usize) {
        // The last answer may still be given.
        std::thread::sleep(Duration::from_millis(200));
        let mut allowed = BTreeSet::new();
        for (cgroup, process) in &self.processes {
            for pid in cgroup.pids() {
                let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
                let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
                allowed.extend(numbers(list.trim()));
            }
            assert!(process.process.id() > 0);
        }
        assert_eq!(allowed.len(), expected, "{allowed:?}");
        for (cgroup, process) in &mut self.processes {
            let shown = process.ask();
            let own = fs::read_to_string(cgroup.dir.join("cpuset.cpus.effective")).unwrap();
            println!("cpusets: {} of {allowed:?} reads {shown}", own.trim());
            assert_eq!(numbers(&shown).len(), expected, "{shown}: {}", self.daemon.log());
        }
    }
}

/// Of a list such as `0-2,5`.
fn numbers(list: &str) -> Vec<u32> {
    let range = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        first.parse::<u32>().unwrap()..=last.parse().unwrap()
    };
    list.split(',').flat_map(range).collect()
}

/// Processors that a container gives to a partition below it are still its own.
fn some_are_given_away() {
    let mut container = Container::new("1-3", &["rest", "given"]);
    container.check(3);
    Container::partition(&container.cgroup, "root");
    let given = &container.processes[1].0;
    given.write("cpuset.cpus", "2-3");
    Container::partition(given, "root");
    container.check(3);
}

/// That takes a container without processes elsewhere.
fn all_are_given_away() {
    let mut container = Container::new("1-3", &["given"]);
    Container::partition(&container.cgroup, "root");
    let given = &container.processes[0].0;
    given.write("cpuset.cpus", "1-3");
    Container::partition(given, "root");
    let own = fs::read_to_string(container.cgroup.dir.join("cpuset.cpus.effective")).unwrap();
    assert_eq!(own.trim(), "");
    container.check(3);
}

/// Since Linux 6.7 partitions may be further down, with what their ancestors put aside for that.
fn some_are_given_away_by_no_partition() {
    let mut container = Container::new("1-3", &["rest", "given"]);
    container.cgroup.write("cpuset.cpus.exclusive", "2-3");
    container.check(3);
    let given = &container.processes[1].0;
    given.write("cpuset.cpus.exclusive", "2-3");
    Container::partition(given, "isolated");
    container.check(3);
}

/// crun makes the cgroup below the scope the partition, and all of the container's processes are in there.
fn a_sub_cgroup_of_crun_is_isolated() {
    let daemon = Daemon::start();
    let top = Cgroup::new();
    enable(top.dir.parent().unwrap());
    enable(&top.dir);
    let scope = top.child(format!("crio-{}.scope", "0123456789abcdef".repeat(4)));
    let container = scope.bare_child("container");
    enable(&scope.dir);
    for cgroup in [&top, &scope] {
        cgroup.write("cpuset.cpus", "1-3");
    }
    let is_new = kernel_is_at_least(6, 7);
    for cgroup in [&top, &scope] {
        if is_new {
            cgroup.write("cpuset.cpus.exclusive", "3");
        } else {
            Container::partition(cgroup, "root");
        }
    }
    container.write("cpuset.cpus", "3");
    Container::partition(&container, "isolated");
    let view = daemon.path("sys/devices/system/cpu/online");
    let shown = crate::common::output(&mut container.command(&["cat", view.to_str().unwrap()]));
    assert_eq!(shown, "0\n");
}
