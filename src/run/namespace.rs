//! A mount namespace in which the views lie over the kernel's files.

use super::error::{NamespaceError, RunError};
use crate::lifecycle::Connection;
use crate::mount::Writes;
use crate::service::Service;
use cgprocfs_core::view::{ViewId, bound};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::thread;

/// Where the program finds the whole tree, as with the daemon.
const MOUNT_POINT: &str = "/run/cgprocfs";

/// A mount namespace, and the root directory there of whoever made it.
pub(super) struct Namespace {
    pub(super) mounts: OwnedFd,
    pub(super) root: OwnedFd,
}

/// Makes the namespace, and serves the views there until this process ends.
///
/// It is made on a thread of its own, for only that thread to leave the namespace of this process.
pub(super) fn with_views(service: &Arc<Service>, views: &[ViewId]) -> Result<Namespace, RunError> {
    let make = || make(service, views);
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("mounts".into()).spawn_scoped(scope, make);
        let thread = thread.map_err(|e| RunError::System("cannot start a thread", e))?;
        Ok(thread.join().unwrap_or(Err(NamespaceError::Panic))?)
    })
}

fn make(service: &Arc<Service>, views: &[ViewId]) -> Result<Namespace, NamespaceError> {
    let failed = |what: &str| {
        let what = what.to_string();
        |error| NamespaceError::System(what, error)
    };
    unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS).map_err(|e| failed("unshare")(e.into()))?;
    // What the host mounts later is still to be seen; what is mounted here is not to be seen there.
    change(Path::new("/"), MsFlags::MS_SLAVE | MsFlags::MS_REC)?;
    // A daemon's mount would only be in the way, and its server need not be alive.
    while umount2(MOUNT_POINT, MntFlags::MNT_DETACH).is_ok() {}
    fs::create_dir_all(MOUNT_POINT).map_err(failed(MOUNT_POINT))?;
    let device = crate::mount::attach(Path::new(MOUNT_POINT), Writes::Triggers)?;
    let connection = Connection::begin(device, Path::new(MOUNT_POINT), Writes::Triggers)?;
    crate::lifecycle::serve(&connection, service, &ViewId::ALL, &Arc::default(), || Ok(()), drop)
        .map_err(NamespaceError::Serve)?;
    for view in bound(views) {
        let (from, over) = (format!("{MOUNT_POINT}/{view}"), format!("/{view}"));
        // Some are not the kernel's, and of some this kernel has none.
        if !Path::new(&over).exists() {
            continue;
        }
        mount(Some(from.as_str()), over.as_str(), None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .map_err(|e| failed(&format!("bind over {over}"))(e.into()))?;
    }
    let open = |path| File::open(path).map(OwnedFd::from).map_err(failed(path));
    Ok(Namespace { mounts: open("/proc/thread-self/ns/mnt")?, root: open("/")? })
}

fn change(path: &Path, flags: MsFlags) -> Result<(), NamespaceError> {
    mount(None::<&str>, path, None::<&str>, flags, None::<&str>)
        .map_err(|e| NamespaceError::System(path.display().to_string(), e.into()))
}
