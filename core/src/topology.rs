//! `sys/devices/system/cpu` and `node`: the processors and the memory nodes that a container has, in one topology, and where
//! the kernel has what is found there.
//!
//! Processors have the numbers and the places that `proc/cpuinfo` gives them. Memory nodes keep the host's numbers: they are
//! what set_mempolicy(2), `Mems_allowed` and `numa_maps` go by.

mod layout;
mod link;
mod memory;
mod node_memory;
mod numa_amounts;
mod path;
mod spread;
mod text;

pub use self::layout::Topology;
pub use self::link::Link;
pub use self::memory::MemoryByNode;
pub use self::path::of_processor;
