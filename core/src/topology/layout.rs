//! Which processors and which memory nodes a container has, and where the kernel has what is found there.

use super::link::Link;
use super::path::{numbered, of_node, of_processor};
use crate::error::ViewError;
use crate::parse::cpu_list::CpuList;
use crate::snapshot::Snapshot;
use crate::units::Kib;

/// The processors and memory nodes of a container.
#[derive(Debug, Clone)]
pub struct Topology {
    /// The host's numbers of its processors, in the order of the container's own numbers.
    cpus: CpuList,
    /// Its nodes, in the order of their numbers.
    pub(super) nodes: Vec<Node>,
    /// Numbers of the host's nodes that are online.
    pub(super) of_host: Vec<u32>,
}

/// A memory node of a container.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) number: u32,
    /// The container's numbers of its processors in the node.
    pub(super) cpus: CpuList,
    /// How much memory the node has, if the container may use it.
    pub(super) memory: Option<Kib>,
}

impl Topology {
    /// The topology of a container: the nodes that its processors are in, and those whose memory it may use.
    ///
    /// # Errors
    /// [`ViewError::NotLoaded`] without processors or nodes.
    pub fn of(snapshot: &Snapshot) -> Result<Self, ViewError> {
        let cpus = snapshot.cpus.as_ref().ok_or(ViewError::NotLoaded("the processors"))?.usable();
        let nodes = snapshot.nodes.as_ref().ok_or(ViewError::NotLoaded("the memory nodes"))?;
        let with_memory = || nodes.host.iter().filter(|node| node.total > Kib::ZERO);
        let is_among = |allowed: &CpuList| with_memory().any(|node| allowed.contains(node.number));
        // A set without any node with memory cannot be right, and limits nothing.
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

    /// How many processors the container has.
    #[must_use]
    pub fn count(&self) -> usize {
        self.cpus.len().max(1)
    }

    /// Numbers of all its nodes.
    pub fn nodes(&self) -> CpuList {
        self.nodes.iter().map(|node| node.number).collect()
    }

    /// Numbers of the nodes with processors of its own.
    pub fn nodes_with_cpus(&self) -> CpuList {
        self.nodes.iter().filter(|node| !node.cpus.is_empty()).map(|node| node.number).collect()
    }

    /// Numbers of the nodes with memory that it may use.
    pub fn nodes_with_memory(&self) -> CpuList {
        self.nodes.iter().filter(|node| node.memory.is_some()).map(|node| node.number).collect()
    }

    pub(super) fn node(&self, number: u32) -> Option<&Node> {
        self.nodes.iter().find(|node| node.number == number)
    }

    /// The host's path of what a container finds at `path` below `sys/devices/system`; `None` if it belongs
    /// to a processor or a node that the container does not have. For [links](Link) between the two, ask
    /// [`has`](Self::has).
    #[must_use]
    pub fn native_path(&self, path: &[u8]) -> Option<Vec<u8>> {
        if let Some((number, rest)) = of_processor(path) {
            let native = self.cpus.iter().nth(usize::try_from(number).ok()?)?;
            return Some([format!("cpu/cpu{native}").as_bytes(), rest].concat());
        }
        if let Some(below) = path.strip_prefix(b"node/") {
            // Some directories of a node are named after other nodes.
            let mut named = below.split(|&b| b == b'/').filter_map(|name| numbered(name, b"node"));
            return named.all(|number| self.node(number).is_some()).then(|| path.to_vec());
        }
        Some(path.to_vec())
    }

    /// Whether an entry that the host has in a directory is in the container's, too. Processors and
    /// [links](Self::links) to them are not, because the container's have other numbers, nor are nodes of
    /// others.
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

    /// Whether the container has this link: its processor of that number is in its node of that number.
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
    (0..).zip(cpus.iter()).filter(|(_, number)| host.contains(*number)).map(|(index, _)| index).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::fixtures::topology;

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
