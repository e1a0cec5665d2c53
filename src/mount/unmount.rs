//! The end of a mount.

use nix::mount::{MntFlags, umount2};
use std::io;
use std::path::Path;

/// Unmounts `target`. Files that are open, and binds of the file system elsewhere, stay until they are
/// given up.
///
/// # Errors
/// The kernel's answer, EINVAL if nothing is mounted there.
pub fn unmount(target: &Path) -> io::Result<()> {
    umount2(target, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW).map_err(io::Error::from)
}
