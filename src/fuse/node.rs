//! Operation is at a name or an inode number: directories and views of ours, and what the kernel has in its directories of
//! processors and memory nodes.

use super::Served;
use super::directories::Listing;
use super::file::{File, inode, sysfs_ino};
use super::tree::ViewNode;
use crate::error::Error;
use crate::kernel::{Entry, join};
use cgprocfs_core::topology::Topology;
use cgprocfs_core::view::WHOLE_DIRECTORIES;
use fuser::{FileAttr, FileType, INodeNo};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Operation is at an inode number.
pub(super) enum Node<'t> {
    /// A directory or a view of ours.
    Ours(&'t ViewNode),
    /// Operation the kernel has at a path below `sys/devices/system`.
    Sysfs(Vec<u8>, Entry),
}

impl Node<'_> {
    fn ino(&self) -> u64 {
        match self {
            Self::Ours(node) => node.ino,
            Self::Sysfs(_, entry) => inode(entry.ino),
        }
    }

    /// Its path below `sys/devices/system`, if it is a directory that the kernel's are in.
    fn path_of_kernel(&self) -> Option<Vec<u8>> {
        match self {
            Self::Ours(node) => {
                let path = WHOLE_DIRECTORIES.into_iter().find(|path| node.is_at(path))?;
                let (_, name) = path.rsplit_once('/')?;
                Some(name.into())
            }
            Self::Sysfs(path, entry) => (kind(*entry) == FileType::Directory).then(|| path.clone()),
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

impl Served {
    /// Whether nobody has to wait who asks what is at an inode number.
    pub(super) fn knows(&self, ino: u64) -> bool {
        sysfs_ino(ino).is_none_or(|number| self.service.source().system_directory().knows(number))
    }

    /// Operation is at an inode number.
    pub(super) fn find(&self, ino: u64) -> Result<Node<'_>, Errno> {
        match sysfs_ino(ino) {
            None => self.tree.node(ino).map(Node::Ours).ok_or(Errno::NOENT),
            Some(number) => {
                let (path, entry) = self.service.source().system_directory().find(number)?;
                Ok(Node::Sysfs(path, entry))
            }
        }
    }

    /// The file at an inode number.
    pub(super) fn file(&self, ino: u64) -> Option<File> {
        match sysfs_ino(ino) {
            None => self.tree.node(ino).and_then(|node| node.view).map(File::View),
            Some(number) => Some(File::Sysfs(number)),
        }
    }

    /// Operation is in a directory by a name, alike for all readers.
    pub(super) fn child(&self, parent: u64, name: &OsStr) -> Result<Node<'_>, Errno> {
        if let Some(node) = self.tree.child(parent, name) {
            return Ok(Node::Ours(node));
        }
        let path = self.find(parent)?.path_of_kernel().ok_or(Errno::NOENT)?;
        let path = join(&path, name.as_bytes());
        let entry = self.service.source().system_directory().entry(&path)?;
        Ok(Node::Sysfs(path, entry))
    }

    /// Operation is in a directory, as a reader has it; with `None`, as the host has it.
    pub(super) fn list(&self, ino: u64, topology: Option<&Topology>) -> Result<Listing, Error> {
        let directory = self.find(ino)?;
        // The kernel knows by itself where one of its own directories lies.
        let parent = match &directory {
            Node::Ours(node) => node.parent,
            Node::Sysfs(..) => ino,
        };
        let mut listing: Listing = [(ino, "."), (parent, "..")]
            .map(|(ino, name)| (ino, FileType::Directory, name.as_bytes().to_vec()))
            .into();
        listing.extend(self.tree.children(ino).map(|node| {
            let kind = self.attributes(&Node::Ours(node)).kind;
            (node.ino, kind, node.name.as_bytes().to_vec())
        }));
        let Some(path) = directory.path_of_kernel() else { return Ok(listing) };
        let others = match self.service.source().system_directory().list(&path, topology) {
            // A kernel that knows of no nodes.
            Err(Errno::NOENT) if matches!(directory, Node::Ours(_)) => Vec::new(),
            others => others?,
        };
        let others =
            others.into_iter().filter(|(name, _)| self.tree.child(ino, OsStr::from_bytes(name)).is_none());
        listing.extend(others.map(|(name, entry)| (inode(entry.ino), kind(entry), name)));
        Ok(listing)
    }

    /// Whether it is a directory in which readers may find different things.
    pub(super) fn differs_by_reader(&self, ino: u64) -> bool {
        self.find(ino).is_ok_and(|found| found.path_of_kernel().is_some())
    }

    /// Operation stat(2) says of it.
    pub(super) fn attributes(&self, found: &Node<'_>) -> FileAttr {
        // Sizes are as those of sysfs. The true one is known only when a text is made, and 0, as procfs has it, would
        // make the kernel answer sendfile(2) and io_uring reads by itself: with nothing
        // (`filemap_splice_read()`, mm/filemap.c; `fuse_direct_IO()`, fs/fuse/file.c).
        let (kind, perm, nlink, size) = match found {
            Node::Ours(ViewNode { view: Some(view), .. }) => {
                (FileType::RegularFile, view.mode(), 1, view.claimed_size())
            }
            Node::Sysfs(_, entry) => match kind(*entry) {
                FileType::RegularFile => (FileType::RegularFile, entry.mode & 0o444, 1, 4096),
                FileType::Symlink => (FileType::Symlink, 0o777, 1, 0),
                kind => (kind, entry.mode & 0o555, 2, 0),
            },
            Node::Ours(_) => (FileType::Directory, 0o555, 2, 0),
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
