//! Views for a container that runs already.
//!
//! What is mounted comes from this mount namespace and goes to the container's, which a thread enters for
//! that. The container's process is pinned by a pidfd, so that no other can be taken for it.

use super::bind::Bind;
use super::target::{self, MountTable};
use crate::mount::is_view;
use crate::process::pidfd;
use cgprocfs_core::parse::mountinfo::Mount;
use cgprocfs_core::parse::pid::Pid;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid, setfsgid, setfsuid};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, fstat, mkdirat, openat};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::thread;

/// Where a container that has no place for the working set gets one: a tmpfs that its runtime has made.
const OWN_TARGET: &str = "dev/cgprocfs/working_set";

/// Why nothing was done with a container.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    #[error("process {0} has ended")]
    Gone(Pid),
    #[error("process {0} is in the mount namespace of the host")]
    NoNamespace(Pid),
    #[error("no view is at {0}")]
    NoAnchors(String),
    #[error("cannot {0}: {1}")]
    System(&'static str, io::Error),
    #[error("the thread for it failed")]
    Panic,
}

/// What was done at one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// A view was laid there, or taken away.
    Changed,
    /// Nothing had to be done.
    Unchanged,
    /// Something else is mounted there, of this type of file system.
    Other(String),
    /// The container has no such file.
    Missing,
    /// It failed.
    Failed(String),
}

/// What was done with a container, by the name of each file.
pub type Report = Vec<(String, Done)>;

/// Lays views in the container of a process: those that it has not yet.
///
/// # Errors
/// [`AttachError`]; nothing is changed then.
pub fn attach(pid: Pid, directory: &Path, binds: &[Bind]) -> Result<Report, AttachError> {
    let copies: Vec<(Bind, OwnedFd)> = binds
        .iter()
        .filter_map(|bind| match target::copy_of(&bind.anchor(directory)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            copy => Some(copy.map(|copy| (*bind, copy))),
        })
        .collect::<io::Result<_>>()
        .map_err(|error| AttachError::System("copy the mounts on the anchors", error))?;
    if copies.is_empty() {
        return Err(AttachError::NoAnchors(directory.display().to_string()));
    }
    in_namespace_of(pid, served_in(directory), move |namespace| {
        copies.into_iter().map(|(bind, copy)| (bind.name(), namespace.attach(bind, &copy))).collect()
    })
}

/// Takes all views away that lie in the container of a process.
///
/// # Errors
/// [`AttachError`], where the namespace can't be entered or a view can't be unmounted.
pub fn detach(pid: Pid, binds: &[Bind]) -> Result<Report, AttachError> {
    let binds = binds.to_vec();
    in_namespace_of(pid, None, move |namespace| {
        binds.into_iter().map(|bind| (bind.name(), namespace.detach(bind))).collect()
    })
}

/// The device of the file system that is served in a directory.
fn served_in(directory: &Path) -> Option<Vec<u8>> {
    let proc = openat(CWD, "/proc", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let live = openat(CWD, directory.join("live"), OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let table = MountTable::of_this_thread(&proc).ok()?;
    let mount = table.mount_of(&proc, live).ok()?;
    is_view(mount).then(|| mount.device.clone())
}

/// Runs `work` on a thread in the mount namespace of a process.
fn in_namespace_of<T: Send>(
    pid: Pid,
    served: Option<Vec<u8>>,
    work: impl FnOnce(&Namespace) -> T + Send,
) -> Result<T, AttachError> {
    let failed = |what| move |error: Errno| AttachError::System(what, error.into());
    let pinned = pidfd(pid).map_err(|_| AttachError::Gone(pid))?;
    let open = |path: &str, flags| openat(CWD, path, flags | OFlags::CLOEXEC, Mode::empty());
    let mounts = open(&format!("/proc/{pid}/ns/mnt"), OFlags::RDONLY).map_err(|error| match error {
        Errno::NOENT | Errno::SRCH => AttachError::Gone(pid),
        error => AttachError::System("open its mount namespace", error.into()),
    })?;
    let own = open("/proc/self/ns/mnt", OFlags::RDONLY)
        .map_err(failed("open the mount namespace of this process"))?;
    let number = |namespace: &OwnedFd| fstat(namespace).map(|stat| stat.st_ino);
    if number(&mounts) == number(&own) {
        return Err(AttachError::NoNamespace(pid));
    }
    // The namespace was that of the process that is pinned, if that still runs.
    let mut polled = [PollFd::new(&pinned, PollFlags::IN)];
    if poll(&mut polled, Some(&Timespec::default())).map_err(failed("look at the process"))? > 0 {
        return Err(AttachError::Gone(pid));
    }
    let proc = open("/proc", OFlags::PATH | OFlags::DIRECTORY).map_err(failed("open /proc"))?;
    let enter = || -> Result<T, AttachError> {
        // Other threads of this process stay where they are.
        unshare(CloneFlags::CLONE_FS)
            .map_err(|error| AttachError::System("make the thread independent", error.into()))?;
        move_into_link_name_space(mounts.as_fd(), Some(LinkNameSpaceType::Mount))
            .map_err(failed("enter its mount namespace"))?;
        let root = open("/", OFlags::PATH | OFlags::DIRECTORY).map_err(failed("open its root directory"))?;
        Ok(work(&Namespace { root, proc, served }))
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("attach".into()).spawn_scoped(scope, enter);
        let thread = thread.map_err(|error| AttachError::System("start a thread", error))?;
        thread.join().unwrap_or(Err(AttachError::Panic))
    })
}

/// The mount namespace that this thread has entered.
struct Namespace {
    root: OwnedFd,
    /// The host's procfs.
    proc: OwnedFd,
    /// The device of the file system that is served now; `None` where none is, or that does not matter.
    served: Option<Vec<u8>>,
}

impl Namespace {
    fn attach(&self, bind: Bind, copy: &OwnedFd) -> Done {
        self.lay(bind, copy).unwrap_or_else(done_by)
    }

    fn lay(&self, bind: Bind, copy: &OwnedFd) -> io::Result<Done> {
        let table = MountTable::of_this_thread(&self.proc)?;
        for path in targets(bind) {
            let Ok(there) = target::open(&self.root, &path) else { continue };
            let mount = table.mount_of(&self.proc, &there)?;
            if is_ours(mount) && !self.is_lost(mount) {
                return Ok(Done::Unchanged);
            }
        }
        let there = match bind.is_in_kernel_file_system() {
            true => target::open(&self.root, &bind.target())?,
            false => self.make_own_target()?,
        };
        let mount = table.mount_of(&self.proc, &there)?;
        if bind.is_in_kernel_file_system() && !target::is_native(mount) && !is_ours(mount) {
            return Ok(Done::Other(String::from_utf8_lossy(&mount.fs_type).into_owned()));
        }
        target::attach(copy, there)?;
        Ok(Done::Changed)
    }

    /// Whether a mount is of another connection than the one that is served: its bind was no slave, and
    /// nobody answers there.
    fn is_lost(&self, mount: &Mount) -> bool {
        is_view(mount) && self.served.as_ref().is_some_and(|served| *served != mount.device)
    }

    fn detach(&self, bind: Bind) -> Done {
        let mut done = Done::Unchanged;
        for path in targets(bind) {
            // Each loss of a connection has left two mounts there.
            for _ in 0..2 * crate::mount::MAX_DEPTH {
                match self.take_one(&path) {
                    Ok(true) => done = Done::Changed,
                    Ok(false) => break,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                    Err(error) => return done_by(error),
                }
            }
        }
        done
    }

    /// Unmounts the uppermost mount at a path if it is ours. Returns whether it was.
    fn take_one(&self, path: &str) -> io::Result<bool> {
        let there = target::open(&self.root, path)?;
        let table = MountTable::of_this_thread(&self.proc)?;
        if !is_ours(table.mount_of(&self.proc, &there)?) {
            return Ok(false);
        }
        drop(there);
        unmount(format!("/{path}"), UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?;
        Ok(true)
    }

    /// Makes [`OWN_TARGET`]. No symbolic link is followed.
    fn make_own_target(&self) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dev = openat(&self.root, "dev", flags, Mode::empty())?;
        // In a user namespace that does not have this thread's user only its own root can make a file.
        let owner = fstat(&dev)?;
        setfsgid(Gid::from_raw(owner.st_gid));
        setfsuid(Uid::from_raw(owner.st_uid));
        match mkdirat(&dev, "cgprocfs", Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        let directory = openat(&dev, "cgprocfs", flags, Mode::empty())?;
        let new = OFlags::RDONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        drop(openat(&directory, "working_set", new, Mode::from_raw_mode(0o444))?);
        target::open(&self.root, OWN_TARGET)
    }
}

/// Where a view may be, without the slash at the beginning.
fn targets(bind: Bind) -> Vec<String> {
    let usual = bind.target().trim_start_matches('/').to_string();
    let own = (!bind.is_in_kernel_file_system()).then(|| OWN_TARGET.to_string());
    [usual].into_iter().chain(own).collect()
}

/// Whether a mount is a view, or what lies in its place while no daemon serves.
fn is_ours(mount: &Mount) -> bool {
    match &mount.fs_type[..] {
        _ if is_view(mount) => true,
        // Not the whole of it, which the container may have from the host as a slave.
        b"proc" | b"sysfs" => mount.master.is_some() && mount.root != b"/",
        // The kernel has no file for the working set.
        b"tmpfs" => mount.source == b"cgprocfs",
        _ => false,
    }
}

fn done_by(error: io::Error) -> Done {
    if error.kind() == io::ErrorKind::NotFound { Done::Missing } else { Done::Failed(error.to_string()) }
}
