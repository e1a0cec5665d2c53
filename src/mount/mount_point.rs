//! Mounts the file system by mount(2), without libfuse or a helper program.

use super::anchors::Anchors;
use super::error::MountError;
use super::file_system::{LXCFS_TYPE, SOURCE, VIEW_TYPE, Writes, is_fuse};
use super::kernel_files::MOUNT_FLAGS;
use super::mount_table;
use cgprocfs_core::parse::mountinfo::Mount;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountFlags;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Sets up anchors in the directory `target`, and mounts the file system among them, which is to be mounted
/// as a whole at `tree`, too, once it is served. Somebody has to serve the connection at once: until then
/// whoever looks there waits.
///
/// # Errors
/// [`MountError`]; no file system is mounted then.
pub fn mount(target: &Path, tree: Option<&Path>, writes: Writes) -> Result<(OwnedFd, Anchors), MountError> {
    let directory = directory(target)?;
    refuse_served(&directory)?;
    if let Some(tree) = tree {
        if let Some(anchors) =
            Anchors::at(&directory).filter(|anchors| anchors.tree().as_deref() == Some(tree))
        {
            let refused = |source| MountError::Refused { path: tree.to_path_buf(), source };
            anchors.take_tree_away().map_err(refused)?;
        }
        // Somebody else's must not be covered.
        self::directory(tree)?;
    }
    let anchors = Anchors::set_up(&directory, tree)?;
    while anchors.is_mounted() {
        // The one that is there answers nobody any more.
        anchors.abort().map_err(|source| MountError::Refused { path: anchors.live(), source })?;
    }
    let kind = if tree.is_some() { LXCFS_TYPE } else { VIEW_TYPE };
    Ok((attach_as(kind, &anchors.live(), writes)?, anchors))
}

/// Refuses a directory in which a connection is served, or kept for somebody who will serve it.
///
/// # Errors
/// [`MountError::AlreadyServed`].
pub fn refuse_served(directory: &Path) -> Result<(), MountError> {
    match Anchors::at(directory) {
        Some(anchors) if anchors.is_mounted() && !anchors.is_lost() => {
            Err(MountError::AlreadyServed(directory.to_path_buf()))
        }
        _ => Ok(()),
    }
}

/// The real path of a directory that something can be mounted on. It is looked up without touching a mount
/// whose server may be stopped.
///
/// # Errors
/// [`MountError`].
pub fn directory(target: &Path) -> Result<PathBuf, MountError> {
    if !rustix::process::geteuid().is_root() {
        return Err(MountError::NotRoot);
    }
    let refused = |source: io::Error| MountError::Refused { path: target.to_path_buf(), source };
    // First of all a look at the mount table: whoever touches a FUSE file system whose server is stopped
    // waits for ever.
    let absolute: PathBuf = std::path::absolute(target).map_err(refused)?.components().collect();
    refuse_fuse_on(&absolute)?;
    match absolute.metadata() {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return Err(MountError::NotADirectory(absolute)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(MountError::Missing(absolute)),
        Err(e) => return Err(refused(e)),
    }
    let real = absolute.canonicalize().map_err(refused)?;
    refuse_fuse_on(&real)?;
    Ok(real)
}

/// The real path of a directory on which the file system may be mounted as a whole already, and nobody may
/// serve it: it is not touched then.
///
/// # Errors
/// [`MountError`].
pub fn tree(target: &Path) -> Result<PathBuf, MountError> {
    let refused = |source: io::Error| MountError::Refused { path: target.to_path_buf(), source };
    let absolute: PathBuf = std::path::absolute(target).map_err(refused)?.components().collect();
    let is_mounted = |path: &Path| {
        let table = mount_table::own().unwrap_or_default();
        table.iter().any(|mount| mount.mount_point == path.as_os_str().as_bytes() && is_fuse(mount))
    };
    if is_mounted(&absolute) {
        return Ok(absolute);
    }
    // What is above it may be a link.
    let (Some(above), Some(name)) = (absolute.parent(), absolute.file_name()) else { return Ok(absolute) };
    let real = above.canonicalize().map_err(refused)?.join(name);
    if is_mounted(&real) { Ok(real) } else { directory(&real) }
}

/// Mounts the file system on the directory `target`, whatever is mounted there already, and returns the
/// connection.
///
/// # Errors
/// [`MountError`]; nothing is mounted then.
pub fn attach(target: &Path, writes: Writes) -> Result<OwnedFd, MountError> {
    attach_as(VIEW_TYPE, target, writes)
}

fn attach_as(kind: &str, target: &Path, writes: Writes) -> Result<OwnedFd, MountError> {
    let device = rustix::fs::open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(
        |e| match e {
            Errno::NOENT | Errno::NODEV | Errno::NXIO => MountError::NoDevice,
            e => MountError::Refused { path: "/dev/fuse".into(), source: e.into() },
        },
    )?;
    let options = format!(
        "fd={},rootmode=40555,user_id=0,group_id=0,allow_other,default_permissions",
        device.as_raw_fd()
    );
    let flags = match writes {
        Writes::Nothing => MOUNT_FLAGS | MountFlags::RDONLY,
        Writes::Triggers => MOUNT_FLAGS,
    };
    let refused = |source: io::Error| MountError::Refused { path: target.to_path_buf(), source };
    let options = CString::new(options).map_err(|e| refused(e.into()))?;
    rustix::mount::mount(SOURCE, target, kind, flags, &*options).map_err(|e| refused(e.into()))?;
    Ok(device)
}

fn refuse_fuse_on(path: &Path) -> Result<(), MountError> {
    let is_there = |mount: &Mount| mount.mount_point == path.as_os_str().as_bytes() && is_fuse(mount);
    if mount_table::own().unwrap_or_default().iter().any(is_there) {
        return Err(MountError::AlreadyMounted(path.to_path_buf()));
    }
    Ok(())
}
