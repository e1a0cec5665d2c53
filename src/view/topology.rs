//! `sys/devices/system/cpu` and `node`: the processors and the memory nodes that a container has, in one topology, and where
//! the kernel has what is found there.
//!
//! Processors have the numbers and the places that `proc/cpuinfo` gives them. Memory nodes keep the host's numbers: they are
//! what set_mempolicy(2), `Mems_allowed` and `numa_maps` go by.

mod link;
mod memory;
mod text;

pub use self::link::Link;
pub use self::memory::MemoryByNode;

use super::ViewError;
use crate::bytes::Kib;
use crate::parse::cpu_list::CpuList;
use crate::snapshot::Snapshot;
use std::path::{Path, PathBuf};

/// A directory of each processor that moby and containerd have masked, where the host has it. It counts for the host as a
/// whole, and no container finds it in the first place, so that there is nothing to be masked: runc and crun pass over what
/// is not there.
const MASKED: &str = "thermal_throttle";

/// What is masked below the directory of that name, if it is a processor's.
#[must_use]
pub fn masked(name: &[u8]) -> Option<PathBuf> {
    numbered(name, b"cpu")?;
    Some(Path::new(std::str::from_utf8(name).ok()?).join(crate::fault::masked(MASKED)))
}

/// Whether a path below `sys/devices/system` leads to what is masked, or into it.
#[must_use]
pub fn is_masked(path: &[u8]) -> bool {
    let Some((_, rest)) = of_processor(path) else { return false };
    rest.split(|&b| b == b'/').nth(1) == Some(crate::fault::masked(MASKED).as_bytes())
}

/// Of which processor a path below `sys/devices/system` is, and the rest of it with the slash.
#[must_use]
pub fn of_processor(path: &[u8]) -> Option<(u32, &[u8])> {
    split(path.strip_prefix(b"cpu/")?, b"cpu")
}

/// Likewise of which node.
fn of_node(path: &[u8]) -> Option<(u32, &[u8])> {
    split(path.strip_prefix(b"node/")?, b"node")
}

fn split<'p>(path: &'p [u8], what: &[u8]) -> Option<(u32, &'p [u8])> {
    let end = path.iter().position(|&b| b == b'/').unwrap_or(path.len());
    Some((numbered(&path[..end], what)?, &path[end..]))
}

/// The number in a name such as `cpu7`, as the kernel writes it.
fn numbered(name: &[u8], what: &[u8]) -> Option<u32> {
    let digits = name.strip_prefix(what)?;
    let is_plain = digits == b"0" || digits.first().is_some_and(|digit| (b'1'..=b'9').contains(digit));
    let number = std::str::from_utf8(digits).ok().filter(|_| is_plain)?;
    number.parse().ok()
}

/// What a container has.
#[derive(Debug, Clone)]
pub struct Topology {
    /// The host's numbers of its processors, in the order of its own.
    cpus: CpuList,
    /// In the order of their numbers.
    nodes: Vec<Node>,
    /// The host's nodes that are online.
    of_host: Vec<u32>,
}

/// A memory node.
#[derive(Debug, Clone)]
struct Node {
    number: u32,
    /// The container's processors in it, by the container's numbers.
    cpus: CpuList,
    /// How much the host has there that the container may use, if any.
    memory: Option<Kib>,
}

impl Topology {
    /// Of a container: the nodes that its processors are in, and those whose memory it may use.
    ///
    /// # Errors
    /// Where processors or nodes were not loaded.
    pub fn of(snapshot: &Snapshot) -> Result<Self, ViewError> {
        let cpus = snapshot.cpus.as_ref().ok_or(ViewError::NotLoaded("the processors"))?.usable();
        let nodes = snapshot.nodes.as_ref().ok_or(ViewError::NotLoaded("the memory nodes"))?;
        let with_memory = || nodes.host.iter().filter(|node| node.total > Kib::ZERO);
        let is_among = |allowed: &CpuList| with_memory().any(|node| allowed.contains(node.number));
        // An odd set is none at all.
        let allowed = nodes.allowed.as_ref().filter(|allowed| is_among(allowed));
        let own = |node: &crate::snapshot::HostNode| Node {
            number: node.number,
            cpus: place_in(&cpus, &node.cpus),
            memory: Some(node.total).filter(|total| {
                *total > Kib::ZERO && allowed.is_none_or(|allowed| allowed.contains(node.number))
            }),
        };
        let of_host = nodes.host.iter().map(|node| node.number).collect();
        let is_its = |node: &Node| node.memory.is_some() || !node.cpus.is_empty();
        let nodes = nodes.host.iter().map(own).filter(is_its).collect();
        Ok(Self { cpus, nodes, of_host })
    }

    /// How many processors it has.
    #[must_use]
    pub fn count(&self) -> usize {
        self.cpus.len().max(1)
    }

    /// All nodes that it has,
    pub fn nodes(&self) -> CpuList {
        self.nodes.iter().map(|node| node.number).collect()
    }

    /// those with processors of its own,
    pub fn nodes_with_cpus(&self) -> CpuList {
        self.nodes.iter().filter(|node| !node.cpus.is_empty()).map(|node| node.number).collect()
    }

    /// and those with memory that it may use.
    pub fn nodes_with_memory(&self) -> CpuList {
        self.nodes.iter().filter(|node| node.memory.is_some()).map(|node| node.number).collect()
    }

    fn node(&self, number: u32) -> Option<&Node> {
        self.nodes.iter().find(|node| node.number == number)
    }

    /// Where the kernel has what a container finds at `path` below `sys/devices/system`; `None` if that is of a processor or
    /// a node that it has not. Of [links](Link) between the two only [`has`](Self::has) says.
    #[must_use]
    pub fn native_path(&self, path: &[u8]) -> Option<Vec<u8>> {
        if let Some((number, rest)) = of_processor(path) {
            let native = self.cpus.iter().nth(usize::try_from(number).ok()?)?;
            return Some([format!("cpu/cpu{native}").as_bytes(), rest].concat());
        }
        if let Some(below) = path.strip_prefix(b"node/") {
            // Some directories of one node name others.
            let mut named = below.split(|&b| b == b'/').filter_map(|name| numbered(name, b"node"));
            return named.all(|number| self.node(number).is_some()).then(|| path.to_vec());
        }
        Some(path.to_vec())
    }

    /// Whether the container has in a directory that it has what the kernel has there by a name: not if that is a processor, or
    /// [links](Self::links) to one, for its own have other numbers, nor if it is another node.
    #[must_use]
    pub fn has_as_is(&self, directory: &[u8], name: &[u8]) -> bool {
        if numbered(name, b"cpu").is_some() {
            return directory != b"cpu" && !matches!(of_node(directory), Some((_, b"")));
        }
        let Some(number) = numbered(name, b"node") else { return true };
        if directory.starts_with(b"node") {
            return self.node(number).is_some();
        }
        !matches!(of_processor(directory), Some((_, b"")))
    }

    /// Whether a processor of the container's number is in a node of it.
    #[must_use]
    pub fn has(&self, link: Link) -> bool {
        self.node(link.node).is_some_and(|node| node.cpus.contains(link.cpu))
    }

    /// The links between processors and nodes in the directory at `path`.
    pub fn links(&self, path: &[u8]) -> Vec<Link> {
        match (of_processor(path), of_node(path)) {
            (Some((cpu, b"")), _) => {
                let node = self.nodes.iter().find(|node| node.cpus.contains(cpu));
                node.map(|node| Link { cpu, node: node.number, is_of_cpu: true }).into_iter().collect()
            }
            (_, Some((number, b""))) => {
                let cpus = self.node(number).into_iter().flat_map(|node| node.cpus.iter());
                cpus.map(|cpu| Link { cpu, node: number, is_of_cpu: false }).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The container's numbers of the host's processors in a list.
    fn numbered(&self, host: &CpuList) -> CpuList {
        place_in(&self.cpus, host)
    }
}

fn place_in(cpus: &CpuList, host: &CpuList) -> CpuList {
    (0..).zip(cpus.iter()).filter(|(_, number)| host.contains(*number)).map(|(place, _)| place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Container, Cpus, HostNode, Nodes, Scope};

    /// A host of two nodes with four processors each, and one of memory alone.
    pub(super) fn snapshot(allowed: &str, quota: Option<u64>, mems: Option<&str>) -> Snapshot {
        let list = |text: &str| CpuList::parse(format!("{text}\n").as_bytes()).unwrap();
        let node = |number, cpus: &str, kib| HostNode { number, cpus: list(cpus), total: Kib::new(kib) };
        let mut snapshot = Snapshot::of_memory(None, Kib::new(4), Scope::Container(Container::default()));
        let allowed = Some(list(allowed));
        snapshot.cpus = Some(Cpus { online: list("0-7"), allowed, quota, time: None });
        let host = vec![node(0, "0-3", 1 << 20), node(1, "4-7", 3 << 20), node(3, "", 1 << 20)];
        snapshot.nodes = Some(Nodes { host: host.into(), allowed: mems.map(list) });
        snapshot
    }

    pub(super) fn topology(allowed: &str, quota: Option<u64>, mems: Option<&str>) -> Topology {
        Topology::of(&snapshot(allowed, quota, mems)).unwrap()
    }

    #[test]
    fn what_runtimes_mask() {
        assert_eq!(masked(b"cpu7").as_deref(), Some(Path::new("cpu7/thermal_throttle")));
        assert!(masked(b"cpufreq").is_none() && masked(b"cpu").is_none());
        for path in ["cpu/cpu0/thermal_throttle", "cpu/cpu12/thermal_throttle/core_throttle_count"] {
            assert!(is_masked(path.as_bytes()), "{path}");
        }
        for path in ["cpu/cpu0", "cpu/cpu0/topology", "thermal_throttle", "cpu/cpufreq/thermal_throttle", ""]
        {
            assert!(!is_masked(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn paths_lead_to_the_host_s_processors() {
        let topology = topology("1,3,5", Some(1500), None);
        let path = |path: &str| {
            topology.native_path(path.as_bytes()).map(|native| String::from_utf8(native).unwrap())
        };
        assert_eq!(path("cpu/cpu0").as_deref(), Some("cpu/cpu1"));
        assert_eq!(path("cpu/cpu1/topology/core_id").as_deref(), Some("cpu/cpu3/topology/core_id"));
        assert_eq!(path("cpu/cpu2"), None, "its bandwidth fills two");
        for shared in [
            "cpu/cpu99999999999999999999/uevent",
            "cpu/cpufreq/policy0",
            "cpu/cpu01",
            "cpu/kernel_max",
            "cpu",
            "",
        ] {
            assert_eq!(path(shared).as_deref(), Some(shared));
        }
    }

    #[test]
    fn nodes_are_those_of_its_processors_and_of_its_memory() {
        let lists = |topology: &Topology| {
            [topology.nodes(), topology.nodes_with_cpus(), topology.nodes_with_memory()]
                .map(|list| list.to_string())
        };
        assert_eq!(lists(&topology("0-7", None, None)), ["0-1,3", "0-1", "0-1,3"]);
        assert_eq!(lists(&topology("0-7", Some(2000), Some("0-1"))), ["0-1", "0", "0-1"]);
        assert_eq!(lists(&topology("2-5", None, Some("3"))), ["0-1,3", "0-1", "3"]);
        assert_eq!(lists(&topology("4", None, Some("1"))), ["1", "1", "1"]);
        // Nothing of that is there.
        assert_eq!(lists(&topology("4", None, Some("2"))), ["0-1,3", "1", "0-1,3"]);
    }

    #[test]
    fn processors_and_nodes_link_to_each_other() {
        let topology = topology("3-4", None, Some("1"));
        let links = |path: &str| {
            let links = topology.links(path.as_bytes()).into_iter();
            links.map(|link| String::from_utf8(link.path()).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(links("cpu/cpu0"), ["cpu/cpu0/node0"]);
        assert_eq!(links("cpu/cpu1"), ["cpu/cpu1/node1"]);
        assert_eq!(links("node/node1"), ["node/node1/cpu1"]);
        for none in ["cpu/cpu2", "cpu", "node", "node/node3", "cpu/cpu0/topology"] {
            assert!(links(none).is_empty(), "{none}");
        }
        assert!(topology.has(Link { cpu: 1, node: 1, is_of_cpu: false }));
        assert!(!topology.has(Link { cpu: 1, node: 0, is_of_cpu: true }));
        let has_as_is =
            |directory: &str, name: &str| topology.has_as_is(directory.as_bytes(), name.as_bytes());
        assert!(
            has_as_is("node", "node1") && has_as_is("cpu", "cpufreq") && has_as_is("node/node0", "cpulist")
        );
        for (directory, name) in [
            ("node", "node3"),
            ("cpu", "cpu0"),
            ("cpu/cpu0", "node0"),
            ("node/node0", "cpu0"),
            ("node/node0/x", "node3"),
        ] {
            assert!(!has_as_is(directory, name), "{directory}/{name}");
        }
        let has = |path: &str| topology.native_path(path.as_bytes()).is_some();
        assert!(has("node/node1/meminfo") && has("node/node1/access0/targets/node0"));
        assert!(!has("node/node3") && !has("node/node1/access0/targets/node3"));
    }
}
