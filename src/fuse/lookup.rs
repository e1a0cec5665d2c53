//! What is at a name or an inode number: directories and views of ours, and what the kernel has in its directory of
//! processors.

use super::ViewFs;
use super::file::{File, inode, kernel_number};
use super::tree::Node;
use crate::error::Error;
use crate::source::{Entry, join};
use crate::view::{CPU_DIRECTORY, topology};
use fuser::{FileAttr, FileType, INodeNo};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// What is at an inode number.
pub(super) enum Found<'t> {
    /// A directory or a view of ours.
    Ours(&'t Node),
    /// What the kernel has at a path below its directory of processors.
    OfProcessors(Vec<u8>, Entry),
}

impl Found<'_> {
    fn ino(&self) -> u64 {
        match self {
            Self::Ours(node) => node.ino,
            Self::OfProcessors(_, entry) => inode(entry.ino),
        }
    }

    /// Its path in the kernel's directory of processors, if it is a directory there.
    fn path_of_processors(&self) -> Option<Vec<u8>> {
        match self {
            Self::Ours(node) => node.is_at(CPU_DIRECTORY).then(Vec::new),
            Self::OfProcessors(path, entry) => (kind(*entry) == FileType::Directory).then(|| path.clone()),
        }
    }
}

/// Its type.
pub(super) fn kind(entry: Entry) -> FileType {
    match entry.kind {
        rustix::fs::FileType::Directory => FileType::Directory,
        rustix::fs::FileType::Symlink => FileType::Symlink,
        _ => FileType::RegularFile,
    }
}

impl ViewFs {
    /// What is at an inode number.
    pub(super) fn find(&self, ino: u64) -> Result<Found<'_>, Errno> {
        match kernel_number(ino) {
            None => self.tree.node(ino).map(Found::Ours).ok_or(Errno::NOENT),
            Some(number) => {
                let (path, entry) = self.service.source().cpu_directory().find(number)?;
                Ok(Found::OfProcessors(path, entry))
            }
        }
    }

    /// The file at an inode number.
    pub(super) fn file(&self, ino: u64) -> Option<File> {
        match kernel_number(ino) {
            None => self.tree.node(ino).and_then(|node| node.view).map(File::View),
            Some(number) => Some(File::OfProcessors(number)),
        }
    }

    /// What is in a directory by a name, alike for all readers.
    pub(super) fn child(&self, parent: u64, name: &OsStr) -> Result<Found<'_>, Errno> {
        if let Some(node) = self.tree.child(parent, name) {
            return Ok(Found::Ours(node));
        }
        let path = self.find(parent)?.path_of_processors().ok_or(Errno::NOENT)?;
        let path = join(&path, name.as_bytes());
        let entry = self.service.source().cpu_directory().entry(&path)?;
        Ok(Found::OfProcessors(path, entry))
    }

    /// What else is in a directory than what is ours, as far as a reader has it.
    pub(super) fn others_in(
        &self,
        directory: &Found<'_>,
        ino: u64,
        pid: u32,
    ) -> Result<Vec<(Vec<u8>, Entry)>, Error> {
        let Some(path) = directory.path_of_processors() else { return Ok(Vec::new()) };
        let mut entries = self.service.source().cpu_directory().list(&path).map_err(Error::OfKernel)?;
        entries.retain(|(name, _)| self.tree.child(ino, OsStr::from_bytes(name)).is_none());
        if let Some(cpus) = self.service.cpus(pid)? {
            entries.retain(|(name, _)| topology::native_path(&join(&path, name), &cpus).is_some());
        }
        Ok(entries)
    }

    /// What stat(2) says of it.
    pub(super) fn attributes(&self, found: &Found<'_>) -> FileAttr {
        // Sizes are as those of sysfs. The true one is known only when a text is made, and 0, as procfs has it, would
        // make the kernel answer sendfile(2) and io_uring reads by itself: with nothing
        // (`filemap_splice_read()`, mm/filemap.c; `fuse_direct_IO()`, fs/fuse/file.c).
        let (kind, perm, nlink, size) = match found {
            Found::Ours(Node { view: Some(view), .. }) => {
                (FileType::RegularFile, view.mode(), 1, view.claimed_size())
            }
            Found::OfProcessors(_, entry) => match kind(*entry) {
                FileType::RegularFile => (FileType::RegularFile, entry.mode & 0o444, 1, 4096),
                FileType::Symlink => (FileType::Symlink, 0o777, 1, 0),
                kind => (kind, entry.mode & 0o555, 2, 0),
            },
            Found::Ours(_) => (FileType::Directory, 0o555, 2, 0),
        };
        FileAttr {
            ino: INodeNo(found.ino()),
            size,
            blocks: 0,
            atime: self.started,
            mtime: self.started,
            ctime: self.started,
            crtime: self.started,
            kind,
            perm,
            nlink,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}
