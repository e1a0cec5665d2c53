//! Mounting a view in a container, whatever is in the container's file system, and whoever serves what is
//! mounted there.

use crate::sys;
use cgprocfs_core::parse::mountinfo::Mount;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::mount::{
    MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, move_mount, open_tree,
};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

/// How much of a mount table is read: a container may mount as much as the kernel lets it.
const MAX_TABLE_BYTES: u64 = 4 << 20;

/// A copy of the mount on an anchor, which is attached nowhere: read-only, and what is mounted on the anchor
/// later appears on it.
///
/// # Errors
/// The error that the kernel returns, above all ENOSYS before Linux 5.12 and EPERM without CAP_SYS_ADMIN.
pub(super) fn copy_of(anchor: &Path) -> io::Result<OwnedFd> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let tree = open_tree(CWD, anchor, flags)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    sys::set_mount(tree.as_fd(), attributes, MountPropagationFlags::DOWNSTREAM)?;
    Ok(tree)
}

/// Opens what is at a target, below the root of a container. No symbolic link is followed: the container's
/// image, or a process in it, may have made it.
///
/// # Errors
/// The kernel's: ENOENT if the container has no such file, ENOSYS before Linux 5.6.
pub(super) fn open(root: impl AsFd, target: &str) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(root, target.trim_start_matches('/'), OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)
}

/// The mount namespace of a thread, by the instance of procfs that `proc` is.
pub(super) struct MountTable(Vec<Mount>);

impl MountTable {
    /// That of this thread.
    ///
    /// # Errors
    /// The error that the kernel returns, and `InvalidData` where a line is not understood.
    pub(super) fn of_this_thread(proc: impl AsFd) -> io::Result<Self> {
        let mut text = Vec::new();
        read(proc, "thread-self/mountinfo")?.take(MAX_TABLE_BYTES).read_to_end(&mut text)?;
        let table = Mount::parse_all(&text);
        table.map(Self).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// The mount that an open file is on. Its server is not asked.
    ///
    /// # Errors
    /// The error that the kernel returns, and `NotFound` if the mount is not of this namespace, or was made
    /// since.
    pub(super) fn mount_of(&self, proc: impl AsFd, file: impl AsFd) -> io::Result<&Mount> {
        let mut text = String::new();
        let path = format!("self/fdinfo/{}", file.as_fd().as_raw_fd());
        read(proc, &path)?.read_to_string(&mut text)?;
        let id = text.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok());
        let mount = self.0.iter().find(|mount| Some(mount.id) == id);
        mount.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn read(proc: impl AsFd, path: &str) -> rustix::io::Result<File> {
    Ok(openat(proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?.into())
}

/// Whether a mount is the kernel's own, so that a view may be laid over it.
pub(super) fn is_native(mount: &Mount) -> bool {
    // What was bound from an anchor is a part of procfs or sysfs, too, while no daemon serves.
    matches!(&mount.fs_type[..], b"proc" | b"sysfs") && mount.master.is_none()
}

/// Mounts a copy of an anchor on a target.
///
/// # Errors
/// The error that the kernel returns.
pub(super) fn attach(tree: impl AsFd, target: impl AsFd) -> rustix::io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(tree, "", target, "", flags)
}
