//! A mount of the file system, and the paths that containers bind.

mod anchors;
mod bound;
mod error;
mod kernel_files;
mod lock;
mod mount_point;
mod unmount;

pub use self::anchors::{Anchors, Laid, Way};
pub use self::error::MountError;
pub use self::lock::{Lock, path as lock_path};
pub use self::mount_point::{Writes, attach, directory, mount, refuse_served};
pub use self::unmount::unmount;
