//! Which processors and which memory nodes a container has, and where the kernel has what is found there.

use super::link::Link;
use super::path::{numbered, of_node, of_processor};
use crate::error::ViewError;
use crate::parse::cpu_list::CpuList;
use crate::snapshot::Snapshot;
use crate::units::Kib;

/// What a container has.
#[derive(Debug, Clone)]
pub struct Topology {
    /// The host's numbers of its processors, in the order of its own.
    cpus: CpuList,
    /// In the order of their numbers.
    pub(super) nodes: Vec<Node>,
    /// The host's nodes that are online.
    pub(super) of_host: Vec<u32>,
}

/// A memory node.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) number: u32,
    /// The container's processors in it, by the container's numbers.
    pub(super) cpus: CpuList,
    /// How much the host has there that the container may use, if any.
    pub(super) memory: Option<Kib>,
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

    pub(super) fn node(&self, number: u32) -> Option<&Node> {
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
    pub(super) fn numbered(&self, host: &CpuList) -> CpuList {
        place_in(&self.cpus, host)
    }
}

fn place_in(cpus: &CpuList, host: &CpuList) -> CpuList {
    (0..).zip(cpus.iter()).filter(|(_, number)| host.contains(*number)).map(|(place, _)| place).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::cpu::Cpus;
    use crate::machine::Machine;
    use crate::snapshot::{Container, HostNode, Nodes, Scope};

    /// A host of two nodes with four processors each, and one of memory alone.
    pub(in crate::topology) fn snapshot(allowed: &str, quota: Option<u64>, mems: Option<&str>) -> Snapshot {
        let list = |text: &str| CpuList::parse(format!("{text}\n").as_bytes()).unwrap();
        let node = |number, cpus: &str, kib| HostNode { number, cpus: list(cpus), total: Kib::new(kib) };
        let mut snapshot = Snapshot::of_memory(None, Machine::USUAL, Scope::Container(Container::default()));
        let allowed = Some(list(allowed));
        snapshot.cpus = Some(Cpus { online: list("0-7"), allowed, quota, time: None });
        let host = vec![node(0, "0-3", 1 << 20), node(1, "4-7", 3 << 20), node(3, "", 1 << 20)];
        snapshot.nodes = Some(Nodes { host: host.into(), allowed: mems.map(list) });
        snapshot
    }

    pub(in crate::topology) fn topology(allowed: &str, quota: Option<u64>, mems: Option<&str>) -> Topology {
        Topology::of(&snapshot(allowed, quota, mems)).unwrap()
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
