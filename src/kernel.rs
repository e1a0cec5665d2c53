//! Reads the kernel, and does nothing else: who a reader is (`identity`), the numbers of a cgroup and of all
//! its ancestors ([`cgroup`]), and the files of the host (`host`).
//!
//! It may use [`confinement`](crate::confinement) and what all rooms share.

pub mod boot_clock;
mod capture;
pub mod cgroup;
mod host;
mod identity;
mod kernel_dir;
mod lookup;
mod namespace_id;
mod processes;
mod procfs;
mod read;
mod read_snapshot;
mod samples;
mod source;

pub use self::capture::{Copied, CopyError};
pub use self::cgroup::ancestry::CgroupAncestry;
pub use self::cgroup::caller::Caller;
pub use self::cgroup::id::{CgroupId, CgroupRef};
pub use self::cgroup::mounts::{CgroupMounts, CgroupMountsError, Hierarchy};
pub use self::cgroup::pressure::PressureFile;
pub use self::cgroup::tasks::{ScanLimits, TaskScan};
pub use self::host::masked;
pub use self::host::sysfs_entry::{Entry, SysfsIno, join};
pub use self::host::system_directory::SystemDirectory;
pub use self::identity::life::Life;
pub use self::identity::reader::Reader;
pub use self::namespace_id::NamespaceId;
pub use self::source::{CpuView, Source};
