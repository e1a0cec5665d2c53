//! Mounting by mount(2), without libfuse or a helper program.

use super::Anchors;
use super::error::MountError;
use cgprocfs_core::parse::mountinfo::mounts;
use nix::mount::MsFlags;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What may be written to a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writes {
    /// Nothing: it is read-only, which spares a question for attributes by who calls fstat(2) after somebody has read
    /// (`fuse_invalidate_atime()`, fs/fuse/dir.c).
    Nothing,
    /// Pressure triggers.
    Triggers,
}

/// Lays anchors in the directory `target`, and mounts among them. Somebody has to serve the connection at once:
/// until then whoever looks there waits.
///
/// # Errors
/// [`MountError`]; no file system is mounted then.
pub fn mount(target: &Path, writes: Writes) -> Result<(OwnedFd, Anchors), MountError> {
    let directory = directory(target)?;
    refuse_served(&directory)?;
    let anchors = Anchors::lay(&directory)?;
    while anchors.is_mounted() {
        // What is there answers nobody any more.
        anchors.abort().map_err(|source| MountError::Refused { path: anchors.live(), source })?;
    }
    Ok((attach(&anchors.live(), writes)?, anchors))
}

/// Looks whether a connection is served in a directory, or kept for somebody who will.
///
/// # Errors
/// [`MountError::AlreadyServed`] if so.
pub fn refuse_served(directory: &Path) -> Result<(), MountError> {
    match Anchors::at(directory) {
        Some(anchors) if anchors.is_mounted() && !anchors.is_lost() => {
            Err(MountError::AlreadyServed(directory.to_path_buf()))
        }
        _ => Ok(()),
    }
}

/// The real path of a directory that something can be mounted on, looked up without touching a mount whose
/// server may be stopped.
///
/// # Errors
/// [`MountError`].
pub fn directory(target: &Path) -> Result<PathBuf, MountError> {
    if !rustix::process::geteuid().is_root() {
        return Err(MountError::NotRoot);
    }
    let refused = |source: io::Error| MountError::Refused { path: target.to_path_buf(), source };
    // Looked up in the mount table before anything else: to touch a FUSE file system whose server is
    // stopped is to wait for ever.
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

/// Mounts on the directory `target` whatever is there already, and returns the connection.
///
/// # Errors
/// [`MountError`]; nothing is mounted then.
pub fn attach(target: &Path, writes: Writes) -> Result<OwnedFd, MountError> {
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
    let mut flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    if writes == Writes::Nothing {
        flags |= MsFlags::MS_RDONLY;
    }
    nix::mount::mount(Some("cgprocfs"), target, Some("fuse.cgprocfs"), flags, Some(options.as_str()))
        .map_err(|e| MountError::Refused { path: target.to_path_buf(), source: e.into() })?;
    Ok(device)
}

fn refuse_fuse_on(path: &Path) -> Result<(), MountError> {
    let table = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    let is_fuse = |mount: &cgprocfs_core::parse::mountinfo::Mount| {
        mount.mount_point == path.as_os_str().as_bytes()
            && (mount.fs_type == b"fuse" || mount.fs_type.starts_with(b"fuse."))
    };
    if mounts(&table).unwrap_or_default().iter().any(is_fuse) {
        return Err(MountError::AlreadyMounted(path.to_path_buf()));
    }
    Ok(())
}
