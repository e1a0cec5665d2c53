//! Symbolic links between processors and nodes.

use super::path::{numbered, of_node, of_processor};

/// A link that says that a processor is in a node: `cpu/cpuN/nodeM` or `node/nodeM/cpuN`. Which links there
/// are depends on the container, but a link always leads to the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// The container's number of the processor.
    pub cpu: u32,
    /// The number of the node.
    pub node: u32,
    /// Whether the link is in the processor's directory, and not in the node's.
    pub is_of_cpu: bool,
}

/// Set in the [number](Link::number) of every link.
const LINK: u64 = 1 << 60;
/// Set in addition if the link is in the processor's directory.
const OF_CPU: u64 = 1 << 59;
const NODE_SHIFT: u32 = 24;

impl Link {
    /// The link that a path below `sys/devices/system` is of; `None` if it is of something else.
    #[must_use]
    pub fn at(path: &[u8]) -> Option<Self> {
        let of = |rest: &[u8], what| numbered(rest.strip_prefix(b"/")?, what);
        let link = match of_processor(path) {
            Some((cpu, rest)) => Self { cpu, node: of(rest, b"node")?, is_of_cpu: true },
            None => {
                let (node, rest) = of_node(path)?;
                Self { cpu: of(rest, b"cpu")?, node, is_of_cpu: false }
            }
        };
        (link.cpu < 1 << NODE_SHIFT && link.node < 1 << NODE_SHIFT).then_some(link)
    }

    /// The path of the link, below `sys/devices/system`.
    #[must_use]
    pub fn path(self) -> Vec<u8> {
        let Self { cpu, node, is_of_cpu } = self;
        match is_of_cpu {
            true => format!("cpu/cpu{cpu}/node{node}"),
            false => format!("node/node{node}/cpu{cpu}"),
        }
        .into_bytes()
    }

    /// The name of the link in its directory.
    #[must_use]
    pub fn name(self) -> Vec<u8> {
        match self.is_of_cpu {
            true => format!("node{}", self.node),
            false => format!("cpu{}", self.cpu),
        }
        .into_bytes()
    }

    /// What the link contains: a path relative to its directory.
    #[must_use]
    pub fn target(self) -> Vec<u8> {
        match self.is_of_cpu {
            true => format!("../../node/node{}", self.node),
            false => format!("../../cpu/cpu{}", self.cpu),
        }
        .into_bytes()
    }

    /// The inode number of the link: no file of the kernel's has it, and it never changes.
    #[must_use]
    pub fn number(self) -> u64 {
        let of_cpu = if self.is_of_cpu { OF_CPU } else { 0 };
        LINK | of_cpu | u64::from(self.node) << NODE_SHIFT | u64::from(self.cpu)
    }

    /// The link with this [number](Self::number).
    #[must_use]
    pub fn of_number(number: u64) -> Option<Self> {
        let part = |shift: u32| u32::try_from(number >> shift & ((1 << NODE_SHIFT) - 1)).ok();
        let link = Self { cpu: part(0)?, node: part(NODE_SHIFT)?, is_of_cpu: number & OF_CPU != 0 };
        (link.number() == number).then_some(link)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_have_paths_and_numbers() {
        for (path, target) in [
            ("cpu/cpu5/node1", "../../node/node1"),
            ("node/node1/cpu5", "../../cpu/cpu5"),
            ("node/node0/cpu16777215", "../../cpu/cpu16777215"),
        ] {
            let link = Link::at(path.as_bytes()).unwrap();
            assert_eq!((link.path(), link.target()), (path.into(), target.into()));
            assert!(path.as_bytes().ends_with(&link.name()));
            assert_eq!(Link::of_number(link.number()), Some(link));
        }
        for path in
            ["cpu/cpu5", "cpu/cpu5/node", "cpu/cpu5/node1/x", "node/node1", "cpu/cpu5/node01", "x/node0"]
        {
            assert_eq!(Link::at(path.as_bytes()), None, "{path}");
        }
        assert_eq!(Link::of_number(5), None);
    }
}
