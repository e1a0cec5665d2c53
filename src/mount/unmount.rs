//! How a mount is taken away.

use rustix::mount::UnmountFlags;
use std::io;
use std::path::Path;

/// Unmounts `target`. Open files, and binds of the file system elsewhere, stay usable until they are given
/// up.
///
/// # Errors
/// The error that the kernel returns, EINVAL if nothing is mounted there.
pub fn unmount(target: &Path) -> io::Result<()> {
    Ok(rustix::mount::unmount(target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?)
}
