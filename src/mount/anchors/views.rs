//! Which file is on top of an anchor: a view, or the kernel's own.

use super::directory::{Anchors, top};
use super::setup::{EMPTY_DIRECTORY, EMPTY_FILE};
use crate::mount::file_system::is_view;
use crate::mount::mount_table;
use cgprocfs_core::view::{self, ViewId, is_directory};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_bind, mount_change, unmount};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

/// No more mounts than this, itself included, are unmounted with a view. Where there are more, somebody else
/// has mounted them.
const MAX_MOUNTS_ON_VIEW: usize = 4;

/// Whether somebody still uses anchors that were given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnchorUse {
    /// Nobody has bound one.
    Unbound,
    /// Somebody has bound one, most likely.
    Bound,
}

/// The views that are mounted on anchors, each held open so that it can be unmounted with all that was
/// mounted on it since.
pub struct MountedViews(Vec<OwnedFd>);

impl Anchors {
    /// Mounts `views` of the file system that is served on top, and the kernel's files on other views.
    /// Somebody has to serve the file system.
    ///
    /// # Errors
    /// The error that the kernel returns.
    pub fn stack(&self, views: &[ViewId]) -> io::Result<()> {
        // Otherwise its binds on the anchors would be its peers: what is mounted on these would be mounted on
        // it, too, and be unmounted from all of them together.
        mount_change(self.live(), MountPropagationFlags::PRIVATE)?;
        let table = mount_table::own()?;
        let live = top(&table, &self.live());
        for path in view::bound(views) {
            let anchor = self.directory.join(path);
            let is_there =
                top(&table, &anchor).zip(live).is_some_and(|(top, live)| top.device == live.device);
            if !is_there {
                mount_bind(self.live().join(path), &anchor)?;
            }
        }
        self.cover_views(|path| view::bound(views).all(|chosen| chosen != path))?;
        self.lay_tree()
    }

    /// Mounts the kernel's files on top of views. Nobody has to serve these any more.
    ///
    /// # Errors
    /// The first of the kernel's. The other anchors are handled all the same.
    pub fn fall_back(&self) -> io::Result<()> {
        let covered = self.cover_views(|_| true);
        covered.and(self.take_tree_away())
    }

    /// The views that are on top now.
    #[must_use]
    pub fn views(&self) -> MountedViews {
        let table = mount_table::own().unwrap_or_default();
        let anchors = view::bound(&ViewId::ALL).map(|path| self.directory.join(path));
        let views = anchors.filter(|anchor| top(&table, anchor).is_some_and(is_view));
        // Only the place is looked up, so that no server is asked.
        let open = |anchor: PathBuf| openat(CWD, &anchor, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok();
        MountedViews(views.filter_map(open).collect())
    }

    /// The paths of the views that are on top now.
    #[must_use]
    pub fn laid_views(&self) -> Vec<String> {
        let table = mount_table::own().unwrap_or_default();
        let is_laid = |path: &&str| top(&table, &self.directory.join(path)).is_some_and(is_view);
        view::bound(&ViewId::ALL).filter(is_laid).map(str::to_string).collect()
    }

    /// Whether no view is on top: whoever unmounts in order mounts the kernel's files first.
    #[must_use]
    pub fn are_given_up(&self) -> bool {
        self.views().0.is_empty()
    }

    /// Mounts the kernel's files on top and, if nobody has bound an anchor, unmounts the views. To be called
    /// while somebody still serves.
    ///
    /// # Errors
    /// The first of the kernel's.
    pub fn withdraw(&self) -> io::Result<AnchorUse> {
        let views = self.views();
        self.fall_back()?;
        if self.are_bound() {
            return Ok(AnchorUse::Bound);
        }
        self.unmount_views(&views)?;
        Ok(AnchorUse::Unbound)
    }

    /// Unmounts views with what is mounted on them, which leaves what was there before. To be called while
    /// somebody still serves them: newer kernels unmount one after the other, and a view is on top for a
    /// moment.
    ///
    /// Whoever has bound one keeps what is mounted on it, and gets nothing else from now on.
    ///
    /// # Errors
    /// The first of the kernel's. The others are handled all the same.
    pub fn unmount_views(&self, views: &MountedViews) -> io::Result<()> {
        let mut result = Ok(());
        for view in &views.0 {
            let path = format!("/proc/self/fd/{}", view.as_raw_fd());
            let mut unmounted = mount_change(&path, MountPropagationFlags::PRIVATE);
            for _ in 0..MAX_MOUNTS_ON_VIEW {
                unmounted = unmounted.and_then(|()| unmount(&path, UnmountFlags::DETACH));
            }
            // Nothing is left to be unmounted.
            let unmounted =
                unmounted.or_else(|error| if error == Errno::INVAL { Ok(()) } else { Err(error) });
            result = result.and(unmounted.map_err(io::Error::from));
        }
        result
    }

    /// Mounts the kernel's files on the views at those paths that are `wanted`.
    fn cover_views(&self, wanted: impl Fn(&str) -> bool) -> io::Result<()> {
        let table = mount_table::own()?;
        let mut result = Ok(());
        for path in view::bound(&ViewId::ALL).filter(|path| wanted(path)) {
            let anchor = self.directory.join(path);
            if !top(&table, &anchor).is_some_and(is_view) {
                continue;
            }
            let covered = match self.kernel_files().mount_on(path, &anchor) {
                Ok(true) => Ok(()),
                Ok(false) => {
                    let empty = if is_directory(path) { EMPTY_DIRECTORY } else { EMPTY_FILE };
                    mount_bind(self.directory.join(empty), &anchor).map_err(io::Error::from)
                }
                Err(error) => Err(error),
            };
            result = result.and(covered);
        }
        result
    }
}
