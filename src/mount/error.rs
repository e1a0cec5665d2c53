//! Errors of mounting.

use std::io;
use std::path::PathBuf;

/// Why nothing was mounted.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum MountError {
    #[error("only root can mount; run cgprocfs as root")]
    NotRoot,
    #[error(
        "/dev/fuse is missing; load the kernel module with `modprobe fuse`, or give the container the device"
    )]
    NoDevice,
    #[error("mount point {0} does not exist; create it with `mkdir -p {0}`")]
    Missing(PathBuf),
    #[error("mount point {0} is not a directory; name one that is")]
    NotADirectory(PathBuf),
    #[error(
        "a FUSE file system is already mounted on {0}; unmount it first with `umount {0}`, or name another mount point"
    )]
    AlreadyMounted(PathBuf),
    #[error(
        "{0} is served already, or its connection is kept for a daemon that starts again; \
         end that first with `cgprocfs unmount {0}`, or name another directory"
    )]
    AlreadyServed(PathBuf),
    #[error("{0} is not root's alone; remove it, or name a directory beside which only root can make files")]
    Forged(PathBuf),
    #[error(
        "{0} mounts lie on one file in {1}, two for each connection that was lost; containers keep the kernel's files: \
         stop those that bind them, or run `cgprocfs unmount --anchors {1}`"
    )]
    TooDeep(usize, PathBuf),
    #[error("cannot mount on {path}: {source}; see `dmesg`")]
    Refused { path: PathBuf, source: io::Error },
}
