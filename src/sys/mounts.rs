//! What mount_setattr(2) does.

use rustix::mount::{MountAttrFlags, MountPropagationFlags};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Gives all of a mount tree, which is attached nowhere yet, attributes that it keeps wherever it comes to be
/// seen, and says whose mounts appear on it.
///
/// # Errors
/// ENOSYS before Linux 5.12.
pub fn set_mount(
    tree: BorrowedFd<'_>,
    attributes: MountAttrFlags,
    propagation: MountPropagationFlags,
) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: attributes.bits().into(),
        attr_clr: 0,
        propagation: propagation.bits().into(),
        userns_fd: 0,
    };
    // SAFETY: the path is a string that ends with NUL, and the kernel reads no more of the attributes than
    // their size.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
