//! Reads the kernel, and nothing else does: who a reader is ([`identity`]), the numbers of a cgroup and of every level above it
//! ([`cgroup`]), and the files of the host ([`host`]).

mod bare;
mod capture;
pub mod cgroup;
mod host;
mod identity;
mod procfs;
mod source;

pub use self::capture::{Copied, CopyError};
pub use self::cgroup::levels::CgroupAncestry;
pub use self::cgroup::mounts::{CgroupMounts, CgroupMountsError, Hierarchy};
pub use self::cgroup::pressure::PressureFile;
pub use self::cgroup::tasks::{Depth, TaskLook};
pub use self::host::masked;
pub use self::host::system_directory::{Entry, SystemDirectory, join};
pub use self::identity::caller::{Caller, Reader};
pub use self::identity::life::Life;
pub use self::source::{CpuView, Source};
