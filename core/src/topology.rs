//! `sys/devices/system/cpu` and `node`: the processors and the memory nodes of a container in one topology,
//! and where the kernel keeps what a container finds there.
//!
//! Processors are numbered as in `proc/cpuinfo`. Memory nodes keep the host's numbers, which
//! set_mempolicy(2), `Mems_allowed` and `numa_maps` go by.

#[cfg(test)]
mod fixtures;
mod layout;
mod link;
mod memory;
mod node_share;
mod numa_amounts;
mod path;
mod spread;
mod text;

pub use self::layout::Topology;
pub use self::link::Link;
pub use self::memory::MemoryByNode;
pub use self::path::of_processor;
