//! How anchors are set up: the tmpfs, its files, and the kernel's files on them.

use super::directory::{Anchors, LIVE, is_anchors, top};
use crate::mount::error::MountError;
use crate::mount::file_system::SOURCE;
use crate::mount::kernel_files::{KernelFiles, MOUNT_FLAGS};
use crate::mount::mount_table;
use cgprocfs_core::view::{self, ViewId, is_directory};
use rustix::fs::{CWD, FileType, Mode, chmod, mknodat};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change, mount_remount};
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// The name of an empty file. Containers get it for a view that the kernel has no file for, because an error
/// would need somebody who lives to give it. It is a mount of its own: otherwise binds of the tmpfs would be
/// its peers, and what is mounted on one of them would be mounted on all.
pub(super) const EMPTY_FILE: &str = "empty";
/// The name of an empty directory, a mount of its own for the same reason. It hides directories of the
/// kernel's.
pub(super) const EMPTY_DIRECTORY: &str = "nothing";
/// The name of a directory where something may be mounted for a moment.
const STAGING: &str = "fresh";

impl Anchors {
    /// Sets up the anchors in a directory, as far as they are not there yet, with the kernel's files on them,
    /// and notes where the file system is to be mounted as a whole, too.
    ///
    /// # Errors
    /// Where something can't be mounted. What was mounted before that stays.
    pub fn set_up(directory: &Path, tree: Option<&Path>) -> Result<Self, MountError> {
        let are_new = !mount_table::own().is_ok_and(|table| is_anchors(&table, directory));
        let anchors = Self { directory: directory.to_path_buf(), are_new };
        anchors
            .complete(tree)
            .map_err(|source| MountError::Refused { path: directory.to_path_buf(), source })?;
        Ok(anchors)
    }

    /// Adds what is missing.
    fn complete(&self, tree: Option<&Path>) -> io::Result<()> {
        if !is_anchors(&mount_table::own()?, &self.directory) {
            mount(SOURCE, &self.directory, "tmpfs", MOUNT_FLAGS, c"mode=755,size=64k")?;
        }
        mount_change(&self.directory, MountPropagationFlags::SHARED)?;
        match self.make_files(tree) {
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                // This version has more views than the one that made the tmpfs.
                mount_remount(&self.directory, MOUNT_FLAGS, c"")?;
                let made = self.make_files(tree);
                if made.is_err() {
                    mount_remount(&self.directory, MountFlags::RDONLY | MOUNT_FLAGS, c"")?;
                }
                made?;
            }
            made => made?,
        }
        // The whole tmpfs, because a container that binds an anchor must not change what others read there.
        mount_remount(&self.directory, MountFlags::RDONLY | MOUNT_FLAGS, c"")?;
        let table = mount_table::own()?;
        for private in [EMPTY_FILE, EMPTY_DIRECTORY, STAGING].map(|name| self.directory.join(name)) {
            if top(&table, &private).is_none() {
                mount_bind(&private, &private)?;
            }
            mount_change(&private, MountPropagationFlags::PRIVATE)?;
        }
        for path in view::bound(&ViewId::ALL) {
            let anchor = self.directory.join(path);
            if top(&table, &anchor).is_none() {
                self.kernel_files().mount_on(path, &anchor)?;
            }
        }
        Ok(())
    }

    pub(super) fn kernel_files(&self) -> KernelFiles {
        KernelFiles {
            staging: self.directory.join(STAGING),
            empty_directory: self.directory.join(EMPTY_DIRECTORY),
        }
    }

    fn make_files(&self, tree: Option<&Path>) -> io::Result<()> {
        self.note_tree(tree)?;
        for name in [LIVE, EMPTY_DIRECTORY, STAGING] {
            make_directory(&self.directory.join(name))?;
        }
        make_file(&self.directory.join(EMPTY_FILE))?;
        for path in view::bound(&ViewId::ALL) {
            let anchor = self.directory.join(path);
            anchor.parent().map_or(Ok(()), make_directory)?;
            if is_directory(path) { make_directory(&anchor)? } else { make_file(&anchor)? }
        }
        Ok(())
    }
}

/// Makes a directory and those above it, without a look at what may be mounted there: its server may be
/// stopped.
fn make_directory(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent().filter(|parent| !parent.exists()) {
        make_directory(parent)?;
    }
    accept_existing(DirBuilder::new().mode(0o755).create(path).and_then(|()| allow(path, 0o755)))
}

/// Makes an empty file, in the same way.
fn make_file(path: &Path) -> io::Result<()> {
    let made = mknodat(CWD, path, FileType::RegularFile, Mode::from_raw_mode(0o444), 0);
    accept_existing(made.map_err(io::Error::from).and_then(|()| allow(path, 0o444)))
}

/// Gives what was just made its mode, whatever this process's umask says of new files.
fn allow(path: &Path, mode: u32) -> io::Result<()> {
    Ok(chmod(path, Mode::from_raw_mode(mode))?)
}

fn accept_existing(made: io::Result<()>) -> io::Result<()> {
    match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}
