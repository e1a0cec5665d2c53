//! The kernel's own files, as they are laid on anchors.

use super::unmount::unmount;
use crate::kernel::masked;
use crate::sys;
use cgprocfs_core::view::CPU_DIRECTORY;
use nix::mount::{MsFlags, mount};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Neither programs nor devices are among what is mounted.
pub(crate) const FLAGS: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);
pub(crate) const NO: Option<&str> = None;

/// What the kernel's files are made ready with.
pub(crate) struct KernelFiles {
    /// A directory, a private mount of its own, where something may be mounted for a moment.
    pub(crate) workplace: PathBuf,
    /// An empty directory, a private mount of its own.
    pub(crate) nothing: PathBuf,
}

impl KernelFiles {
    /// Lays the kernel's own file, or directory, of a view's path on its anchor. Whether there is one.
    pub(crate) fn lay(&self, path: &str, anchor: &Path) -> io::Result<bool> {
        let Some((top, rest)) = path.split_once('/') else { return Ok(false) };
        let laid = match open_below(&Path::new("/").join(top), rest) {
            Ok(native) => self.lay_opened(path, &native, anchor),
            Err(Errno::NOENT) => return Ok(false),
            Err(error) => Err(error.into()),
        };
        match laid.as_ref().map_err(io::Error::raw_os_error) {
            // Somebody has laid another file over the kernel's in this namespace, a view perhaps; or it is before
            // Linux 5.12.
            Err(Some(libc::EXDEV | libc::ENOSYS)) => self.lay_fresh(path, anchor)?,
            _ => laid?,
        }
        Ok(true)
    }

    /// Lays a file on an anchor, read-only. It must not be a peer of the mount that it is from: where /proc is shared, what
    /// is laid on the anchor would come to lie on /proc, too.
    fn lay_opened(&self, path: &str, native: &OwnedFd, anchor: &Path) -> io::Result<()> {
        let mut tree = clone(native, OpenTreeFlags::empty())?;
        sys::make_private_and_read_only(tree.as_fd())?;
        let masked = masked_in(path, &tree)?;
        if !masked.is_empty() {
            // Nothing can be mounted in a tree that is attached nowhere.
            attach(&tree, &self.workplace)?;
            let masked_tree = self.mask(&self.workplace, &masked).and_then(|()| {
                let workplace = openat(CWD, &self.workplace, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
                clone(&workplace, OpenTreeFlags::AT_RECURSIVE)
            });
            unmount(&self.workplace)?;
            tree = masked_tree?;
            sys::make_private_and_read_only(tree.as_fd())?;
        }
        attach(&tree, anchor)
    }

    /// Lays a file of an instance of procfs or sysfs that nobody else has seen, and nobody is a peer of.
    fn lay_fresh(&self, path: &str, anchor: &Path) -> io::Result<()> {
        let Some((top, rest)) = path.split_once('/') else { return Err(Errno::NOENT.into()) };
        let fs_type = if top == "sys" { "sysfs" } else { top };
        mount(Some(fs_type), &self.workplace, Some(fs_type), MsFlags::MS_RDONLY | FLAGS, NO)?;
        let lay = || {
            let native = open_below(&self.workplace, rest)?;
            self.mask(&self.workplace.join(rest), &masked_in(path, &native)?)?;
            let native = PathBuf::from(format!("/proc/self/fd/{}", native.as_raw_fd()));
            let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
            mount(Some(&native), anchor, NO, flags, NO).map_err(io::Error::from)
        };
        let laid = lay();
        unmount(&self.workplace).and(laid)
    }

    /// Lays nothing on each of some directories below one.
    fn mask(&self, directory: &Path, masked: &[PathBuf]) -> io::Result<()> {
        masked.iter().try_for_each(|path| bind(&self.nothing, &directory.join(path)))
    }
}

/// What container runtimes mask in the kernel's directory at `path`: a mask of theirs ends where something is laid on the
/// directory that it is in.
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

/// A copy, attached nowhere yet, of the mount that a file was opened in, from there on.
fn clone(file: impl AsFd, flags: OpenTreeFlags) -> io::Result<OwnedFd> {
    let clone =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    Ok(open_tree(file, "", clone | flags)?)
}

fn attach(tree: &OwnedFd, place: &Path) -> io::Result<()> {
    Ok(move_mount(tree, "", CWD, place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

pub(crate) fn bind(from: &Path, to: &Path) -> io::Result<()> {
    mount(Some(from), to, NO, MsFlags::MS_BIND, NO).map_err(io::Error::from)
}

pub(crate) fn change(path: &Path, flags: MsFlags) -> io::Result<()> {
    mount(NO, path, NO, flags, NO).map_err(io::Error::from)
}

/// Opens a file below a directory, and not what somebody may have laid over it: EXDEV if something is.
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
