//! The file system as a whole at one more path, as users of lxcfs have it. It is there as long as it is
//! served.

use super::directory::{Anchors, LIVE, is_anchors, top};
use crate::mount::file_system::{is_fuse, is_view};
use crate::mount::mount_table;
use crate::mount::unmount::unmount;
use cgprocfs_core::parse::mountinfo::Mount;
use rustix::io::Errno;
use rustix::mount::mount_bind;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// The name, among the anchors, of a link to that path.
const LINK: &str = "tree";

impl Anchors {
    /// The anchors of the file system that is mounted as a whole at `tree`.
    #[must_use]
    pub fn of_tree(tree: &Path) -> Option<Self> {
        let table = mount_table::own().ok()?;
        let mut anchors =
            directories(&table).map(|directory| Self { directory: directory.to_path_buf(), are_new: false });
        anchors.find(|anchors| anchors.tree().as_deref() == Some(tree))
    }

    /// Where the file system is to be mounted as a whole, too.
    #[must_use]
    pub fn tree(&self) -> Option<PathBuf> {
        fs::read_link(self.directory.join(LINK)).ok()
    }

    /// Notes where the file system is to be mounted as a whole, if anywhere.
    pub(super) fn note_tree(&self, tree: Option<&Path>) -> io::Result<()> {
        let noted = self.tree();
        if noted.as_deref() == tree {
            return Ok(());
        }
        if noted.is_some() {
            self.take_tree_away()?;
            fs::remove_file(self.directory.join(LINK))?;
        }
        tree.map_or(Ok(()), |tree| symlink(tree, self.directory.join(LINK)))
    }

    /// Mounts the file system there, if that is wanted and it is not there yet. Somebody has to serve it.
    ///
    /// # Errors
    /// EBUSY where another FUSE file system is there; the kernel's.
    pub(super) fn lay_tree(&self) -> io::Result<()> {
        let Some(tree) = self.tree() else { return Ok(()) };
        self.take_away(&tree, false)?;
        let table = mount_table::own()?;
        match top(&table, &tree).zip(top(&table, &self.live())) {
            Some((there, live)) if there.device == live.device => Ok(()),
            Some((there, _)) if is_fuse(there) => Err(Errno::BUSY.into()),
            _ => Ok(mount_bind(self.live(), &tree)?),
        }
    }

    /// Unmounts it there. Whoever has bound something of it keeps that, and gets an error once the connection
    /// is over.
    ///
    /// # Errors
    /// The error that the kernel returns.
    pub fn take_tree_away(&self) -> io::Result<()> {
        // Where there is none nothing is looked up: whoever unmounts the anchors is not to find them busy.
        let table = mount_table::own()?;
        let is_live =
            |mount: &Mount| directories(&table).any(|directory| directory.join(LIVE) == path(mount));
        let is_tree = |mount: &Mount| is_view(mount) && mount.root == b"/" && !is_live(mount);
        match table.iter().any(is_tree).then(|| self.tree()).flatten() {
            Some(tree) => self.take_away(&tree, true),
            None => Ok(()),
        }
    }

    /// Unmounts what is left of connections that are over, and of this one if that is wanted. What other
    /// anchors have mounted there stays.
    fn take_away(&self, tree: &Path, with_this_one: bool) -> io::Result<()> {
        loop {
            let table = mount_table::own()?;
            let device_at = |directory: &Path| top(&table, &directory.join(LIVE)).map(|live| &live.device);
            let Some(there) = top(&table, tree).filter(|there| is_view(there)) else { return Ok(()) };
            let is_this_one = device_at(&self.directory) == Some(&there.device);
            let is_another_s = directories(&table)
                .any(|other| other != self.directory && device_at(other) == Some(&there.device));
            if is_another_s || is_this_one && !with_this_one {
                return Ok(());
            }
            unmount(tree)?;
        }
    }
}

/// The directories of all anchors.
fn directories(table: &[Mount]) -> impl Iterator<Item = &Path> {
    table.iter().map(path).filter(|directory| is_anchors(table, directory))
}

fn path(mount: &Mount) -> &Path {
    Path::new(OsStr::from_bytes(&mount.mount_point))
}
