//! What a name or an inode number stands for: a directory or view of ours, or an entry of the kernel's
//! directories of processors and memory nodes.

use super::file::inode;
use super::tree::ViewNode;
use crate::kernel::Entry;
use cgprocfs_core::view::WHOLE_DIRECTORIES;
use fuser::{FileType, INodeNo};

/// What an inode number stands for.
pub(super) enum Node<'t> {
    /// A directory or a view of ours.
    View(&'t ViewNode),
    /// An entry of the kernel's, with its path below `sys/devices/system`.
    Sysfs(Vec<u8>, Entry),
}

impl Node<'_> {
    pub(super) fn ino(&self) -> INodeNo {
        match self {
            Self::View(node) => node.ino,
            Self::Sysfs(_, entry) => inode(entry.ino),
        }
    }

    /// The path below `sys/devices/system` of a directory that shows the kernel's entries; `None` for
    /// anything else.
    pub(super) fn sysfs_path(&self) -> Option<Vec<u8>> {
        match self {
            Self::View(node) => {
                let path = WHOLE_DIRECTORIES.into_iter().find(|path| node.is_at(path))?;
                let (_, name) = path.rsplit_once('/')?;
                Some(name.into())
            }
            Self::Sysfs(path, entry) => (file_type(*entry) == FileType::Directory).then(|| path.clone()),
        }
    }
}

/// The type that FUSE gives an entry of sysfs, which has no others than these three.
pub(super) fn file_type(entry: Entry) -> FileType {
    match entry.kind {
        rustix::fs::FileType::Directory => FileType::Directory,
        rustix::fs::FileType::Symlink => FileType::Symlink,
        _ => FileType::RegularFile,
    }
}
