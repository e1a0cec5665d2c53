//! The mounted file system, and the anchors: the paths that containers bind.
//!
//! [`Anchors`] are set up in one directory, with the file system mounted among them. [`Lock`] lets one
//! process at a time do so. This module may use the kernel readers; who serves the file system is not known
//! here.

mod anchors;
mod bound;
mod error;
mod file_system;
mod kernel_files;
mod lock;
mod mount_point;
mod mount_table;
mod unmount;

pub use self::anchors::{AnchorUse, Anchors, MAX_DEPTH, MountedViews};
pub use self::bound::{MountTables, mount_tables, receivers};
pub use self::error::MountError;
pub use self::file_system::Writes;
pub(crate) use self::file_system::is_view;
pub use self::lock::{Lock, path as lock_path};
pub use self::mount_point::{attach, directory, mount, refuse_served, tree};
pub use self::unmount::unmount;
