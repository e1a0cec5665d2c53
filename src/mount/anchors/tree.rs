//! The file system as a whole at one more path, as users of lxcfs have it. It is there as long as it is served.

use super::directory::{Anchors, LIVE, is_anchors, top};
use crate::mount::file_system::is_view;
use crate::mount::mount_table;
use crate::mount::unmount::unmount;
use cgprocfs_core::parse::mountinfo::Mount;
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
        let directories = table.iter().map(|mount| Path::new(OsStr::from_bytes(&mount.mount_point)));
        let mut anchors = directories
            .filter(|directory| is_anchors(&table, directory))
            .map(|directory| Self { directory: directory.to_path_buf(), are_new: false });
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
    pub(super) fn lay_tree(&self) -> io::Result<()> {
        let Some(tree) = self.tree() else { return Ok(()) };
        let table = mount_table::own()?;
        let is_there = top(&table, &tree)
            .zip(top(&table, &self.live()))
            .is_some_and(|(top, live)| top.device == live.device);
        if is_there {
            return Ok(());
        }
        self.take_tree_away()?;
        Ok(mount_bind(self.live(), &tree)?)
    }

    /// Unmounts it there. Whoever has bound something of it keeps that, and gets an error once the connection is over.
    ///
    /// # Errors
    /// The kernel's.
    pub fn take_tree_away(&self) -> io::Result<()> {
        let is_tree = |mount: &Mount| {
            is_view(mount)
                && mount.root == b"/"
                && !mount.mount_point.ends_with(format!("/{LIVE}").as_bytes())
        };
        // Where there is none nothing is looked up: whoever unmounts the anchors is not to find them busy.
        if !mount_table::own()?.iter().any(is_tree) {
            return Ok(());
        }
        let Some(tree) = self.tree() else { return Ok(()) };
        while top(&mount_table::own()?, &tree).is_some_and(is_view) {
            unmount(&tree)?;
        }
        Ok(())
    }
}
