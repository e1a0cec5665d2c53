//! Who has to give way where there is not enough for all.
//!
//! Cgroups are cheap. A limit for each of them does not limit a tenant, who makes as many as it likes, at any
//! depth. And nothing tells which cgroup above a container is a tenant's, and which, like `kubepods`, holds
//! all of them. So what is held is counted at every level of the holders' paths. Where room is needed, the
//! heaviest branch gives way, at each level from the top down. A tenant may hold everything that nobody else
//! wants, and whoever holds nothing yet is admitted at once.

mod admission;
mod dominant;
mod excess;
mod path;
mod tree;

pub use self::admission::{Full, Policy, Shares};
pub use self::dominant::dominant;
pub use self::excess::{eviction_order, excess};
pub(crate) use self::path::{components, entry_weight};
