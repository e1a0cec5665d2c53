//! Mounts the kernel's own files on anchors.

use super::unmount::unmount;
use crate::kernel::masked;
use crate::sys;
use cgprocfs_core::view::CPU_DIRECTORY;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;
use rustix::mount::{
    MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount, mount_bind,
    mount_bind_recursive, move_mount, open_tree,
};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// How everything is mounted: there are neither programs nor devices.
pub(super) const MOUNT_FLAGS: MountFlags =
    MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// Where the kernel's files are prepared.
pub(super) struct KernelFiles {
    /// A directory, a private mount of its own, where something may be mounted for a moment.
    pub(super) staging: PathBuf,
    /// An empty directory, a private mount of its own.
    pub(super) empty_directory: PathBuf,
}

impl KernelFiles {
    /// Mounts the kernel's own file, or directory, of a view's path on its anchor. Returns whether there is
    /// one.
    ///
    /// # Errors
    /// The error that the kernel returns.
    pub(super) fn mount_on(&self, path: &str, anchor: &Path) -> io::Result<bool> {
        let Some((top, rest)) = path.split_once('/') else { return Ok(false) };
        let mounted = match open_below(&Path::new("/").join(top), rest) {
            Ok(file) => self.mount_clone(path, &file, anchor),
            Err(Errno::NOENT) => return Ok(false),
            Err(error) => Err(error.into()),
        };
        match mounted.as_ref().map_err(Errno::from_io_error) {
            // Another file, a view perhaps, is mounted over the kernel's in this namespace; or this is before
            // Linux 5.12.
            Err(Some(Errno::XDEV | Errno::NOSYS)) => self.mount_fresh(path, anchor)?,
            _ => mounted?,
        }
        Ok(true)
    }

    /// Mounts a file that is there on an anchor, read-only. It must not be a peer of the mount that it is
    /// from: where /proc is shared, what is mounted on the anchor would be mounted on /proc, too.
    fn mount_clone(&self, path: &str, file: &OwnedFd, anchor: &Path) -> io::Result<()> {
        let mut tree = clone(file, OpenTreeFlags::empty())?;
        make_private_and_read_only(&tree)?;
        let masked = masked_in(path, &tree)?;
        if !masked.is_empty() {
            // Nothing can be mounted in a tree that is attached nowhere.
            attach(&tree, &self.staging)?;
            let masked_tree = self.mask(&self.staging, &masked).and_then(|()| {
                let staging = openat(CWD, &self.staging, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
                clone(&staging, OpenTreeFlags::AT_RECURSIVE)
            });
            unmount(&self.staging)?;
            tree = masked_tree?;
            make_private_and_read_only(&tree)?;
        }
        attach(&tree, anchor)
    }

    /// Mounts a file of an instance of procfs or sysfs that nobody else has seen, and nobody is a peer of.
    fn mount_fresh(&self, path: &str, anchor: &Path) -> io::Result<()> {
        let Some((top, rest)) = path.split_once('/') else { return Err(Errno::NOENT.into()) };
        let fs_type = if top == "sys" { "sysfs" } else { top };
        mount(fs_type, &self.staging, fs_type, MountFlags::RDONLY | MOUNT_FLAGS, None)?;
        let bind = || -> io::Result<()> {
            let file = open_below(&self.staging, rest)?;
            self.mask(&self.staging.join(rest), &masked_in(path, &file)?)?;
            Ok(mount_bind_recursive(format!("/proc/self/fd/{}", file.as_raw_fd()), anchor)?)
        };
        let mounted = bind();
        unmount(&self.staging).and(mounted)
    }

    /// Hides some directories below another behind empty ones.
    fn mask(&self, directory: &Path, masked: &[PathBuf]) -> io::Result<()> {
        masked.iter().try_for_each(|path| Ok(mount_bind(&self.empty_directory, directory.join(path))?))
    }
}

/// What container runtimes mask in the kernel's directory at `path`. Their mask is hidden by whatever is
/// mounted on the directory that it is in, so it is repeated there.
fn masked_in(path: &str, directory: &OwnedFd) -> io::Result<Vec<PathBuf>> {
    if path != CPU_DIRECTORY {
        return Ok(Vec::new());
    }
    let place = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
    let mut masked = Vec::new();
    for entry in fs::read_dir(&place)? {
        let Some(path) = masked::masked(entry?.file_name().as_bytes()) else { continue };
        masked.extend(place.join(&path).is_dir().then_some(path));
    }
    Ok(masked)
}

/// A copy of the mount that a file was opened in, from that file on. It is attached nowhere yet.
fn clone(file: impl AsFd, flags: OpenTreeFlags) -> io::Result<OwnedFd> {
    let clone =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    Ok(open_tree(file, "", clone | flags)?)
}

/// Makes a tree read-only, and nobody's peer.
fn make_private_and_read_only(tree: &OwnedFd) -> io::Result<()> {
    sys::set_mount(tree.as_fd(), MountAttrFlags::MOUNT_ATTR_RDONLY, MountPropagationFlags::PRIVATE)
}

fn attach(tree: &OwnedFd, place: &Path) -> io::Result<()> {
    Ok(move_mount(tree, "", CWD, place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

/// Opens a file below a directory, and not what somebody may have mounted over it: EXDEV if there is
/// something.
fn open_below(directory: &Path, rest: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let top = openat(CWD, directory, flags | OFlags::DIRECTORY, Mode::empty())?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV;
    match openat2(&top, rest, flags, Mode::empty(), resolve) {
        // Before Linux 5.6, or behind a filter that knows no openat2(2).
        Err(Errno::NOSYS | Errno::PERM) => openat(&top, rest, flags, Mode::empty()),
        opened => opened,
    }
}
