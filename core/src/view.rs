//! The served files. A view is pure: a [`Snapshot`](crate::snapshot::Snapshot) goes in, text comes out.
//!
//! To add one, write a file beside `working_set.rs` and a line in [`registry`]: look-up, listing,
//! attributes, golden, property and mount tests find it there.

mod contract;
pub mod cpu_list;
pub mod cpuinfo;
pub mod diskstats;
pub mod loadavg;
pub mod meminfo;
pub mod node_list;
pub mod pressure;
pub mod registry;
pub mod slabinfo;
pub mod stat;
pub mod swaps;
pub mod uptime;
pub mod vmstat;
pub mod working_set;

pub use self::contract::View;
pub use self::registry::{
    CPU_DIRECTORY, NODE_DIRECTORY, SYSTEM_DIRECTORY, ViewId, WHOLE_DIRECTORIES, bound, find, is_directory,
};
