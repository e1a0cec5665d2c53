//! Memory nodes: with the processors that a container has, and its memory.

use super::NODES;
use crate::common::cgroup::Cgroup;
use crate::common::daemon::Daemon;
use crate::common::{Need, cgprocfs, field, helper, host_total, output, test};
use cgprocfs::kernel::CgroupMounts;
use cgprocfs_core::parse::CgroupVersion;
use libtest_mimic::Trial;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub fn tests() -> Vec<Trial> {
    const NUMA: &[Need] = &[Need::Root, Need::Fuse, Need::Nodes];
    const NUMACTL: &[Need] = &[Need::Root, Need::Fuse, Need::Nodes, Need::Program("numactl")];
    const PROGRAMS: &[Need] = &[
        Need::Root,
        Need::Fuse,
        Need::Nodes,
        Need::Program("lscpu"),
        Need::Program("numactl"),
        Need::Program("hwloc-ls"),
        Need::Program("vmstat"),
    ];
    tests! {
        test(NUMA) => [
            nodes_and_processors_link_to_each_other = link_to_each_other,
            links_outlive_their_daemon,
            nodes_have_what_the_container_has = have_what_the_container_has,
            a_cpuset_with_one_node,
        ],
        test(NUMACTL) => [
            memory_is_on_the_node_where_it_is = memory_is_where_it_is,
        ],
        test(PROGRAMS) => [
            programs_agree,
        ],
    }
}

/// What a shell script prints in a container with limits.
fn in_container(limits: &[&str], script: &str) -> String {
    output(cgprocfs().arg("run").args(limits).args(["--", "sh", "-c", script]))
}

fn processors() -> usize {
    std::thread::available_parallelism().unwrap().get()
}

/// The numbers in a list of the kernel's.
fn list(path: &str) -> Vec<u32> {
    let text = fs::read_to_string(path).unwrap();
    let ranges = text.trim().split(',').filter(|range| !range.is_empty()).map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        first.parse().unwrap()..=last.parse().unwrap()
    });
    ranges.flatten().collect()
}

/// No link leads to what the container has not, and each of its processors is in one node, as that says
/// itself.
fn link_to_each_other() {
    let script = "cd /sys/devices/system/node
        for path in node[0-9]*/cpu[0-9]* ../cpu/cpu[0-9]*/node[0-9]*; do test -e $path || echo \"$path dangles\"; done
        for cpu in ../cpu/cpu[0-9]*; do
            set -- $cpu/node[0-9]*; name=${cpu##*/}; node=${1##*/}; echo $name $#
            test \"$(readlink -f $1)\" = \"$PWD/$node\" || echo \"$1 leads to $(readlink -f $1)\"
            test \"$(readlink -f $node/$name)\" = \"$(readlink -f $cpu)\" || echo \"no $node/$name\"
        done; ls -d node[0-9]*/cpu[0-9]* | wc -l";
    for count in 1..=processors() {
        let said = in_container(&["--cpus", &count.to_string()], script);
        let own: String = (0..count).map(|number| format!("cpu{number} 1\n")).collect();
        assert_eq!(said, format!("{own}{count}\n"));
    }
}

/// The next one is asked for the link by a number that it has never heard.
fn links_outlive_their_daemon() {
    let daemon = Daemon::start();
    let cpus = list("/sys/devices/system/node/node0/cpulist");
    let link = daemon.path(NODES).join(format!("node0/cpu{}", cpus[0]));
    // Looked up by the kernel from now on.
    let before = fs::symlink_metadata(&link).unwrap();
    let target = fs::read_link(&link).unwrap();
    let _successor = daemon.taken_over();
    assert_eq!(fs::read_link(&link).unwrap(), target);
    assert_eq!(target, PathBuf::from(format!("../../cpu/cpu{}", cpus[0])));
    use std::os::unix::fs::MetadataExt;
    assert_eq!(fs::symlink_metadata(&link).unwrap().ino(), before.ino());
}

/// The sum of a line over all nodes.
fn sum(said: &str, key: &str) -> u64 {
    let words = said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let of_key =
        words.filter(|words| words.first() == Some(&"Node") && words[2].strip_suffix(':') == Some(key));
    of_key.map(|words| words[3].parse::<u64>().unwrap()).sum()
}

/// Together what `proc/meminfo` says, line by line, and in the kernel's columns.
fn have_what_the_container_has() {
    let script = "cat /sys/devices/system/node/node*/meminfo /proc/meminfo";
    let said = in_container(&["--memory", "64M"], script);
    for (own, of_nodes) in
        [("MemFree", "MemFree"), ("AnonPages", "AnonPages"), ("Cached", "FilePages"), ("Slab", "Slab")]
    {
        // It is read from one after the other.
        let (own, of_nodes) = (field(&said, own), sum(&said, of_nodes));
        assert!(own.abs_diff(of_nodes) < 1 << 10, "{own} and {of_nodes}: {said}");
    }
    assert_eq!((sum(&said, "MemTotal"), field(&said, "MemTotal")), (64 << 10, 64 << 10));
    assert_eq!(sum(&said, "MemUsed"), (64 << 10) - sum(&said, "MemFree"));
    let columns = |text: &str| -> Vec<_> {
        let lines = text.lines().filter(|line| line.starts_with("Node "));
        lines.map(|line| (line.find(':'), line.len())).collect()
    };
    assert_eq!(columns(&said), columns(&output(Command::new("sh").args(["-c", script]))));
    // What no cgroup counts is nobody else's.
    let said = in_container(&[], "cat /sys/devices/system/node/node*/numastat");
    assert!(said.lines().all(|line| line.ends_with(" 0")) && said.contains("numa_hit 0"), "{said}");
}

/// What a program has is on the node that it was told to take it from.
fn memory_is_where_it_is() {
    const MIB: u64 = 60;
    for node in list("/sys/devices/system/node/has_memory") {
        let hog = helper::command("hog", &[&MIB.to_string()]).join(" ");
        let script = format!(
            "sleep 1000 | numactl --membind={node} {hog} > /dev/null & \
             until grep -qE 'AnonPages: +[6-9][0-9]{{4}} kB' /proc/meminfo; do sleep 0.1; done
             cat /sys/devices/system/node/node*/meminfo"
        );
        let said = in_container(&["--memory", "300M"], &script);
        let own = said.lines().filter(|line| line.starts_with(&format!("Node {node} AnonPages:")));
        let own = sum(&own.collect::<Vec<_>>().join("\n"), "AnonPages");
        let all = sum(&said, "AnonPages");
        assert!(own >= MIB << 10 && all - own < 20 << 10, "{own} of {all} on node {node}: {said}");
        assert_eq!(sum(&said, "MemTotal"), 300 << 10, "{said}");
    }
}

/// What real programs say of memory and processors is one and the same.
fn programs_agree() {
    // hwloc holds what it finds against the cpuset's own numbers, which are the host's, and have holes with
    // SMT off.
    let is_fully_visible = list("/sys/devices/system/cpu/online").into_iter().eq((0..).take(processors()));
    let script = format!(
        "export LC_ALL=C; {}; ls -d /sys/devices/system/node/node[0-9]* | wc -l; for program in \
         'numactl -H' 'hwloc-ls --no-io' lscpu 'vmstat -s' 'free -k'; do echo; $program; done",
        if is_fully_visible { ":" } else { "export HWLOC_ALLOW=all" }
    );
    for (mib, count) in [(200, 1), (300, processors())] {
        let said = in_container(&["--memory", &format!("{mib}M"), "--cpus", &count.to_string()], &script);
        let [nodes, numactl, hwloc, lscpu, vmstat, free] = said.split("\n\n").collect::<Vec<_>>()[..] else {
            panic!("{said}")
        };
        let after = |text: &str, key: &str| -> Vec<String> {
            text.lines().filter_map(|line| Some(line.split_once(key)?.1.trim().to_string())).collect()
        };
        let sizes = after(numactl, " size: ").into_iter();
        let size: u64 = sizes.map(|size| size.trim_end_matches(" MB").parse::<u64>().unwrap()).sum();
        // Each node's is rounded down.
        assert!((mib - 8..=mib).contains(&size), "{numactl}");
        let cpus = after(numactl, " cpus:").join(" ");
        let mut cpus: Vec<usize> = cpus.split_whitespace().map(|number| number.parse().unwrap()).collect();
        cpus.sort_unstable();
        assert_eq!(cpus, (0..count).collect::<Vec<_>>(), "{numactl}");
        assert_eq!(hwloc.matches("PU L#").count(), count, "{hwloc}");
        assert!(hwloc.starts_with(&format!("Machine ({mib}MB total)")), "{hwloc}");
        assert_eq!(after(lscpu, "NUMA node(s):"), [nodes.trim()], "{lscpu}");
        assert_eq!(after(lscpu, "On-line CPU(s) list:").len(), 1, "{lscpu}");
        assert!(lscpu.contains(&format!("\nCPU(s):                                  {count}\n")), "{lscpu}");
        assert!(vmstat.contains(&format!("{} K total memory", mib << 10)), "{vmstat}");
        assert!(free.contains(&format!(" {} ", mib << 10)), "{free}");
        assert!(mib << 10 <= host_total());
    }
}

/// A cgroup's processors and nodes are chosen, on cgroup v1 by one of the same name, which is removed again.
struct Cpuset(PathBuf);

impl Cpuset {
    fn new(cgroup: &Cgroup, cpus: &str, nodes: &str) -> Self {
        let cpuset = CgroupMounts::detect(Path::new("/")).unwrap().cpuset.unwrap();
        let dir = cpuset.mount_point.join(cgroup.dir.file_name().unwrap());
        if cpuset.version == CgroupVersion::V2 {
            fs::write(cpuset.mount_point.join("cgroup.subtree_control"), "+cpuset").unwrap();
        } else {
            fs::create_dir(&dir).unwrap();
        }
        fs::write(dir.join("cpuset.cpus"), cpus).unwrap();
        fs::write(dir.join("cpuset.mems"), nodes).unwrap();
        Self(dir)
    }
}

impl Drop for Cpuset {
    fn drop(&mut self) {
        // On v2 it is the cgroup itself, whose part that is.
        let _ = fs::remove_dir(&self.0);
    }
}

/// The memory of one node of those that there are, and a processor that need not be in it.
fn a_cpuset_with_one_node() {
    let (nodes, cpus) = (list("/sys/devices/system/node/has_memory"), list("/sys/devices/system/cpu/online"));
    let (node, cpu) = (*nodes.last().unwrap(), cpus[0]);
    let daemon = Daemon::start();
    let cgroup = Cgroup::new().limit(64);
    let cpuset = Cpuset::new(&cgroup, &cpu.to_string(), &node.to_string());
    let script = "echo 0 > \"$0/cgroup.procs\"; cd \"$1\"; for file in has_memory has_cpu node*/cpulist; do
        echo $file $(cat $file); done; cat node*/meminfo; cat node*/distance";
    let directory = daemon.path(NODES);
    let words = ["sh", "-c", script, cpuset.0.to_str().unwrap(), directory.to_str().unwrap()];
    let said = output(&mut cgroup.command(&words));
    let of_processor = nodes_of(cpu);
    for line in [
        format!("has_memory {node}"),
        format!("has_cpu {of_processor}"),
        format!("node{of_processor}/cpulist 0"),
        format!("Node {node} MemTotal:          65536 kB"),
    ] {
        assert!(said.lines().any(|own| own == line), "{line}: {said}");
    }
    assert_eq!(sum(&said, "MemTotal"), 64 << 10, "{said}");
    let own = if node == of_processor { 1 } else { 2 };
    assert_eq!(said.lines().filter(|line| line.contains("MemTotal")).count(), own, "{said}");
    assert!(said.lines().last().unwrap().split(' ').count() == own, "{said}");
}

/// The node of a processor of the host.
fn nodes_of(cpu: u32) -> u32 {
    let names = fs::read_dir(format!("/sys/devices/system/cpu/cpu{cpu}")).unwrap();
    let mut names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.find_map(|name| name.strip_prefix("node")?.parse().ok()).unwrap()
}
