//! Anchors: the paths that containers bind, which stay whoever serves.
//!
//! An anchor is a file, or a directory, in a shared tmpfs on which the kernel's own is bound and, as long as a file system
//! is served, its view on top of that. What is mounted on an anchor comes to lie on every bind of it that is a
//! slave (`mount_namespaces`(7)), on those of the kernel's file and on those of a view. So containers get
//! another file by one being laid on top, never by one being taken away: a container that was started when
//! that was on top would be left with it.
//!
//! Each loss of a connection makes the stack two mounts higher. A daemon that resumes a connection adds none, and one that
//! ends in order leaves none if nobody has bound an anchor.

use super::bound;
use super::error::MountError;
use super::kernel_files::{FLAGS, KernelFiles, bind, change};
use super::unmount::unmount;
use cgprocfs_core::parse::mountinfo::{Mount, mounts, uppermost};
use cgprocfs_core::view::{self, ViewId, is_directory};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use rustix::fs::{CWD, FileType, Mode, OFlags, chmod, mknodat, openat};
use rustix::io::Errno;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Name, among the anchors, of the directory that the file system is mounted on.
const LIVE: &str = "live";
/// Name of an empty file, which is what containers get for a view that the kernel has no file for: to have
/// an error instead, somebody would have to live to give it. It is a mount of its own, for binds of the tmpfs would
/// be its peers, and what is laid on one of them be laid on all.
const EMPTY: &str = "empty";
/// Name of an empty directory, likewise, which lies where a container must see none of the kernel's.
const NOTHING: &str = "nothing";
/// Name of a directory where something may be mounted for a moment.
const FRESH: &str = "fresh";
/// Source of the tmpfs, by which it is known again.
const SOURCE: &str = "cgprocfs";
/// Type of the file system.
const VIEW: &[u8] = b"fuse.cgprocfs";
/// So many mounts, itself included, are taken away with a view: more than that somebody else has laid there.
const MOST_ON_A_VIEW: usize = 4;
/// How long a server may take to answer before it is taken for one that somebody keeps the place of.
const PATIENCE: Duration = Duration::from_millis(300);

/// Who is left to see anchors that were given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Nobody.
    Free,
    /// Somebody who has bound one, most likely.
    Bound,
}

/// A directory of anchors.
#[derive(Debug, Clone)]
pub struct Anchors {
    directory: PathBuf,
    are_new: bool,
}

/// The views that lie on anchors, each held so that it can be taken away with all that is laid on it by then.
pub struct Laid(Vec<OwnedFd>);

impl Anchors {
    /// Lays the anchors in a directory, as far as they are not there yet, with the kernel's files on them.
    ///
    /// # Errors
    /// Where something can't be mounted; what was laid so far stays.
    pub fn lay(directory: &Path) -> Result<Self, MountError> {
        let are_new = !table().is_ok_and(|table| is_ours(&table, directory));
        let anchors = Self { directory: directory.to_path_buf(), are_new };
        anchors.lay_all().map_err(|source| MountError::Refused { path: directory.to_path_buf(), source })?;
        Ok(anchors)
    }

    /// The anchors in a directory, if there are any.
    #[must_use]
    pub fn at(directory: &Path) -> Option<Self> {
        is_ours(&table().ok()?, directory)
            .then(|| Self { directory: directory.to_path_buf(), are_new: false })
    }

    /// The anchors around a file system, if it was mounted among some.
    #[must_use]
    pub fn around(mount_point: &Path) -> Option<Self> {
        Self::at(mount_point.parent().filter(|_| mount_point.ends_with(LIVE))?)
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether there were none before they were laid.
    #[must_use]
    pub const fn are_new(&self) -> bool {
        self.are_new
    }

    /// Where the file system belongs.
    #[must_use]
    pub fn live(&self) -> PathBuf {
        self.directory.join(LIVE)
    }

    fn lay_all(&self) -> io::Result<()> {
        if !is_ours(&table()?, &self.directory) {
            mount(Some(SOURCE), &self.directory, Some("tmpfs"), FLAGS, Some("mode=755,size=64k"))?;
        }
        change(&self.directory, MsFlags::MS_SHARED)?;
        match self.make_files() {
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                // A version that has more views than the one before.
                change(&self.directory, MsFlags::MS_REMOUNT | FLAGS)?;
                self.make_files()?;
            }
            made => made?,
        }
        // Of the whole tmpfs: a container that binds an anchor must not change what others read there.
        change(&self.directory, MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | FLAGS)?;
        let table = table()?;
        for private in [EMPTY, NOTHING, FRESH].map(|name| self.directory.join(name)) {
            if uppermost(&table, private.as_os_str().as_bytes()).is_none() {
                bind(&private, &private)?;
            }
            change(&private, MsFlags::MS_PRIVATE)?;
        }
        for path in view::bound(&ViewId::ALL) {
            let anchor = self.directory.join(path);
            if uppermost(&table, anchor.as_os_str().as_bytes()).is_none() {
                self.native().lay(path, &anchor)?;
            }
        }
        Ok(())
    }

    fn native(&self) -> KernelFiles {
        KernelFiles { workplace: self.directory.join(FRESH), nothing: self.directory.join(NOTHING) }
    }

    fn make_files(&self) -> io::Result<()> {
        for name in [LIVE, NOTHING, FRESH] {
            make_directory(&self.directory.join(name))?;
        }
        make_file(&self.directory.join(EMPTY))?;
        for path in view::bound(&ViewId::ALL) {
            let anchor = self.directory.join(path);
            anchor.parent().map_or(Ok(()), make_directory)?;
            if is_directory(path) { make_directory(&anchor)? } else { make_file(&anchor)? }
        }
        Ok(())
    }

    /// Lays `views` of the file system that is served on top, and the kernel's files on other views. Somebody has to
    /// serve it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn stack(&self, views: &[ViewId]) -> io::Result<()> {
        // Its binds on the anchors would be its peers, and what is laid on these be laid on it, too, and be taken from
        // all of them with it.
        change(&self.live(), MsFlags::MS_PRIVATE)?;
        let table = table()?;
        let live = uppermost(&table, self.live().as_os_str().as_bytes());
        for path in view::bound(views) {
            let anchor = self.directory.join(path);
            let upper = uppermost(&table, anchor.as_os_str().as_bytes());
            let is_there = upper.zip(live).is_some_and(|(upper, live)| upper.device == live.device);
            if !is_there {
                bind(&self.live().join(path), &anchor)?;
            }
        }
        self.lay_native_on(|path| view::bound(views).all(|chosen| chosen != path))
    }

    /// Lays the kernel's files on top of views. Nobody has to serve these any more.
    ///
    /// # Errors
    /// The first of the kernel's; the other anchors are gone through all the same.
    pub fn fall_back(&self) -> io::Result<()> {
        self.lay_native_on(|_| true)
    }

    /// The views that are uppermost now.
    #[must_use]
    pub fn views(&self) -> Laid {
        let table = table().unwrap_or_default();
        let is_view = |anchor: &PathBuf| {
            uppermost(&table, anchor.as_os_str().as_bytes()).is_some_and(|upper| upper.fs_type == VIEW)
        };
        let anchors = view::bound(&ViewId::ALL).map(|path| self.directory.join(path)).filter(is_view);
        // Only the place is looked up, so that no server is asked.
        let open = |anchor: PathBuf| openat(CWD, &anchor, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok();
        Laid(anchors.filter_map(open).collect())
    }

    /// Whether no view is uppermost: whoever unmounts in order lays the kernel's files first.
    #[must_use]
    pub fn are_given_up(&self) -> bool {
        self.views().0.is_empty()
    }

    /// Whether somebody has bound an anchor, or that can't be told. To be asked after [`Anchors::fall_back`]: whoever binds
    /// one later binds the kernel's own file.
    #[must_use]
    pub fn are_bound(&self) -> bool {
        bound::by_somebody(&self.directory)
    }

    /// Lays the kernel's files on top, and where nobody has bound an anchor takes the views away. To be called while
    /// somebody still serves.
    ///
    /// # Errors
    /// The first of the kernel's.
    pub fn give_way(&self) -> io::Result<Way> {
        let views = self.views();
        self.fall_back()?;
        if self.are_bound() {
            return Ok(Way::Bound);
        }
        self.take_away(&views)?;
        Ok(Way::Free)
    }

    /// Takes views away, with what lies on them: there is again what was there before. To be called while somebody still
    /// serves them, for newer kernels take one mount at a time, and a view is uppermost for a moment.
    ///
    /// Whoever has bound one keeps what lies on it, and gets nothing any more.
    ///
    /// # Errors
    /// The first of the kernel's; the others are gone through all the same.
    pub fn take_away(&self, views: &Laid) -> io::Result<()> {
        let mut result = Ok(());
        for view in &views.0 {
            let path = PathBuf::from(format!("/proc/self/fd/{}", view.as_raw_fd()));
            let mut taken = change(&path, MsFlags::MS_PRIVATE);
            for _ in 0..MOST_ON_A_VIEW {
                taken = taken.and_then(|()| umount2(&path, MntFlags::MNT_DETACH).map_err(io::Error::from));
            }
            // There is nothing left to be unmounted.
            let is_gone = |error: &io::Error| error.raw_os_error() == Some(libc::EINVAL);
            result = result.and(taken.or_else(|error| if is_gone(&error) { Ok(()) } else { Err(error) }));
        }
        result
    }

    /// Lays the kernel's files on the views at those paths that are `wanted`.
    fn lay_native_on(&self, wanted: impl Fn(&str) -> bool) -> io::Result<()> {
        let table = table()?;
        let mut result = Ok(());
        for path in view::bound(&ViewId::ALL).filter(|path| wanted(path)) {
            let anchor = self.directory.join(path);
            let is_view = |mount: &Mount| mount.fs_type == VIEW;
            if uppermost(&table, anchor.as_os_str().as_bytes()).is_none_or(|upper| !is_view(upper)) {
                continue;
            }
            let laid = match self.native().lay(path, &anchor) {
                Ok(true) => Ok(()),
                Ok(false) => {
                    bind(&self.directory.join(if is_directory(path) { NOTHING } else { EMPTY }), &anchor)
                }
                Err(error) => Err(error),
            };
            result = result.and(laid);
        }
        result
    }

    /// How many mounts lie on the highest stack.
    #[must_use]
    pub fn depth(&self) -> usize {
        let table = table().unwrap_or_default();
        let depth = |anchor: PathBuf| {
            table.iter().filter(|mount| mount.mount_point == anchor.as_os_str().as_bytes()).count()
        };
        view::bound(&ViewId::ALL).map(|path| depth(self.directory.join(path))).max().unwrap_or(0)
    }

    /// Whether a file system is mounted, be it served or not.
    #[must_use]
    pub fn is_mounted(&self) -> bool {
        table().is_ok_and(|table| uppermost(&table, self.live().as_os_str().as_bytes()).is_some())
    }

    /// Number of the device of the file system that is mounted, as in `0:25`.
    pub(crate) fn device(&self) -> Option<String> {
        let table = table().ok()?;
        let live =
            uppermost(&table, self.live().as_os_str().as_bytes()).filter(|live| live.fs_type == VIEW)?;
        String::from_utf8(live.device.clone()).ok()
    }

    /// Whether what is mounted can't be served any more, because nobody has kept its connection.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        let (sender, answer) = mpsc::channel();
        let live = self.live();
        // If somebody keeps the connection, but nobody serves, this waits as long as this process lives.
        let ask = move || {
            // Nobody waits for it any more if it took too long.
            let _ = sender.send(rustix::fs::statfs(&live).map(drop));
        };
        let asked = thread::Builder::new().name("probe".into()).spawn(ask);
        asked.is_ok() && matches!(answer.recv_timeout(PATIENCE), Ok(Err(Errno::NOTCONN | Errno::CONNABORTED)))
    }

    /// Gives the connection up: who waits for an answer gets an error, and the file system is unmounted.
    ///
    /// # Errors
    /// The kernel's, EINVAL if nothing is mounted.
    pub fn abort(&self) -> io::Result<()> {
        let flags = MntFlags::MNT_FORCE | MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW;
        umount2(&self.live(), flags).map_err(io::Error::from)
    }

    /// Containers get the kernel's own files, whatever is there now, and nobody waits for a server any more.
    ///
    /// # Errors
    /// The first of the kernel's.
    pub fn let_go(&self) -> io::Result<()> {
        let fallen_back = self.fall_back();
        let mut aborted = Ok(());
        while aborted.is_ok() && self.is_mounted() {
            aborted = self.abort();
        }
        fallen_back.and(aborted)
    }

    /// Removes everything. Containers keep what is uppermost of what they have bound, and are laid nothing on any more.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove(&self) -> io::Result<()> {
        while is_ours(&table()?, &self.directory) {
            // Or the kernel's files would be taken from above the views in containers, too.
            change(&self.directory, MsFlags::MS_REC | MsFlags::MS_PRIVATE)?;
            unmount(&self.directory)?;
        }
        Ok(())
    }
}

fn table() -> io::Result<Vec<Mount>> {
    let text = fs::read("/proc/self/mountinfo")?;
    mounts(&text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn is_ours(table: &[Mount], directory: &Path) -> bool {
    let here = uppermost(table, directory.as_os_str().as_bytes());
    here.is_some_and(|mount| mount.fs_type == b"tmpfs" && mount.source == SOURCE.as_bytes())
}

/// Makes a directory and those above it, without a look at what may be mounted there: its server may be stopped.
fn make_directory(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent().filter(|parent| !parent.exists()) {
        make_directory(parent)?;
    }
    there_or(DirBuilder::new().mode(0o755).create(path).and_then(|()| allow(path, 0o755)))
}

/// Makes an empty file, likewise.
fn make_file(path: &Path) -> io::Result<()> {
    let made = mknodat(CWD, path, FileType::RegularFile, Mode::from_raw_mode(0o444), 0);
    there_or(made.map_err(io::Error::from).and_then(|()| allow(path, 0o444)))
}

/// Lets everybody read what was just made, whatever this process's umask says of new files.
fn allow(path: &Path, mode: u32) -> io::Result<()> {
    Ok(chmod(path, Mode::from_raw_mode(mode))?)
}

fn there_or(made: io::Result<()>) -> io::Result<()> {
    match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}
