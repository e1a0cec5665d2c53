//! Everything that requests are answered from: the service, the tree of names, and the open files and
//! directories.

use super::directory_handles::{DirectoryHandles, Listing};
use super::file::{File, inode, sysfs_ino};
use super::file_handles::FileHandles;
use super::node::{Node, file_type};
use super::tree::{NodeKind, Tree, ViewNode};
use crate::error::Error;
use crate::kernel::join;
use crate::service::Service;
use crate::state::in_flight::InFlightTable;
use cgprocfs_core::topology::Topology;
use cgprocfs_core::view::ViewId;
use fuser::{FileAttr, FileType, INodeNo};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::SystemTime;

/// What a server has to know of the connection that it serves.
pub struct ServedConnection {
    /// How many servers the connection had before this one.
    pub generation: u32,
    /// Where its requests are recorded.
    pub in_flight: InFlightTable,
    /// Whether the file system is mounted read-only, so that there can be no triggers.
    pub is_read_only: bool,
}

/// The id that the kernel takes for none (`INVALID_UID`, include/linux/uidgid.h). Programs see that of
/// "nobody".
const NO_OWNER: u32 = u32::MAX;

/// The state of one server. It outlives the call that a request came with, because an answer may come from
/// another thread.
pub(super) struct Served {
    pub(super) service: Arc<Service>,
    pub(super) files: FileHandles,
    pub(super) directories: DirectoryHandles,
    pub(super) in_flight: InFlightTable,
    /// Whether the file system is mounted read-only, so that there can be no triggers.
    pub(super) is_read_only: bool,
    tree: Tree,
    started: SystemTime,
}

impl Served {
    pub(super) fn new(service: Arc<Service>, views: &[ViewId], connection: ServedConnection) -> Self {
        let ServedConnection { generation, in_flight, is_read_only } = connection;
        Self {
            service,
            files: FileHandles::new(generation),
            directories: DirectoryHandles::new(generation),
            in_flight,
            is_read_only,
            tree: Tree::new(views),
            started: SystemTime::now(),
        }
    }

    /// The errno that a reader is told of an error. The log is told the rest.
    pub(super) fn errno(&self, error: &Error) -> fuser::Errno {
        self.service.log(error);
        fuser::Errno::from_i32(error.errno())
    }

    /// Whether looking up an inode number makes nobody wait.
    pub(super) fn knows(&self, ino: INodeNo) -> bool {
        sysfs_ino(ino).is_none_or(|number| self.service.source().system_directory().knows(number))
    }

    /// What an inode number stands for.
    pub(super) fn find(&self, ino: INodeNo) -> Result<Node<'_>, Errno> {
        match sysfs_ino(ino) {
            None => self.tree.node(ino).map(Node::View).ok_or(Errno::NOENT),
            Some(number) => {
                let (path, entry) = self.service.source().system_directory().find(number)?;
                Ok(Node::Sysfs(path, entry))
            }
        }
    }

    /// The file that an inode number stands for, if it is one.
    pub(super) fn file(&self, ino: INodeNo) -> Option<File> {
        match sysfs_ino(ino) {
            None => match self.tree.node(ino)?.kind {
                NodeKind::Directory => None,
                NodeKind::View(view) => Some(File::View(view)),
                NodeKind::Status => Some(File::Status),
                NodeKind::ByThread(what) => Some(File::ByThread(what)),
            },
            Some(number) => Some(File::Sysfs(number)),
        }
    }

    /// The pressure view that an inode number stands for, if it is one.
    pub(super) fn pressure(&self, ino: INodeNo) -> Option<ViewId> {
        self.file(ino).and_then(File::pressure)
    }

    /// The entry of a directory by its name, which is the same for all readers.
    pub(super) fn child(&self, parent: INodeNo, name: &OsStr) -> Result<Node<'_>, Errno> {
        if let Some(node) = self.tree.child(parent, name) {
            return Ok(Node::View(node));
        }
        let path = self.find(parent)?.sysfs_path().ok_or(Errno::NOENT)?;
        let path = join(&path, name.as_bytes());
        let entry = self.service.source().system_directory().entry(&path)?;
        Ok(Node::Sysfs(path, entry))
    }

    /// The entries of a directory as a reader sees it; without a topology, as the host sees it.
    pub(super) fn list(&self, ino: INodeNo, topology: Option<&Topology>) -> Result<Listing, Error> {
        let directory = self.find(ino)?;
        // The kernel knows by itself where one of its own directories lies.
        let parent = match &directory {
            Node::View(node) => node.parent,
            Node::Sysfs(..) => ino,
        };
        let mut listing: Listing = [(ino, "."), (parent, "..")]
            .map(|(ino, name)| (ino, FileType::Directory, name.as_bytes().to_vec()))
            .into();
        listing.extend(self.tree.children(ino).map(|node| {
            let kind = self.attributes(&Node::View(node)).kind;
            (node.ino, kind, node.name.as_bytes().to_vec())
        }));
        let Some(path) = directory.sysfs_path() else { return Ok(listing) };
        let entries = match self.service.source().system_directory().list(&path, topology) {
            // A kernel without NUMA has no directory of nodes.
            Err(Errno::NOENT) if matches!(directory, Node::View(_)) => Vec::new(),
            entries => entries?,
        };
        let entries =
            entries.into_iter().filter(|(name, _)| self.tree.child(ino, OsStr::from_bytes(name)).is_none());
        listing.extend(entries.map(|(name, entry)| (inode(entry.ino), file_type(entry), name)));
        Ok(listing)
    }

    /// Whether this is a directory in which readers may see different entries.
    pub(super) fn differs_by_reader(&self, ino: INodeNo) -> bool {
        self.find(ino).is_ok_and(|node| node.sysfs_path().is_some())
    }

    /// What stat(2) says of a node.
    pub(super) fn attributes(&self, node: &Node<'_>) -> FileAttr {
        // Sizes are as those of sysfs. The true one is known only when a text is made, and 0, as procfs has
        // it, would make the kernel answer sendfile(2) and io_uring reads by itself: with nothing
        // (`filemap_splice_read()`, mm/filemap.c; `fuse_direct_IO()`, fs/fuse/file.c).
        let (kind, perm, nlink, size) = match node {
            Node::View(ViewNode { kind: NodeKind::View(view), .. }) => {
                (FileType::RegularFile, view.mode(), 1, view.claimed_size())
            }
            // For root; it names containers.
            Node::View(ViewNode { kind: NodeKind::Status, .. }) => {
                (FileType::RegularFile, 0o400, 1, File::Status.claimed_size())
            }
            // For root; it tells of all containers.
            Node::View(ViewNode { kind: NodeKind::ByThread(what), .. }) => {
                (FileType::RegularFile, 0o400, 1, File::ByThread(*what).claimed_size())
            }
            Node::Sysfs(_, entry) => match file_type(*entry) {
                FileType::RegularFile => (FileType::RegularFile, entry.mode & 0o444, 1, 4096),
                FileType::Symlink => (FileType::Symlink, 0o777, 1, 0),
                kind => (kind, entry.mode & 0o555, 2, 0),
            },
            Node::View(_) => (FileType::Directory, 0o555, 2, 0),
        };
        FileAttr {
            ino: node.ino(),
            size,
            blocks: 0,
            atime: self.started,
            mtime: self.started,
            ctime: self.started,
            crtime: self.started,
            kind,
            perm,
            nlink,
            uid: self.owner(node),
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }

    /// The owner of a node. Whoever has the owner's id may take a lease (fcntl(2), `F_SETLEASE`), and each
    /// open of another container waits until it is given back, or for 45 s. So nodes have no owner, but for
    /// those that no container opens or that root alone may read, and for files that are there to be written:
    /// no capability opens a file without an owner for root (`capable_wrt_inode_uidgid()`,
    /// kernel/capability.c), and nobody may write to one (`HAS_UNMAPPED_ID()`, include/linux/fs.h).
    fn owner(&self, node: &Node<'_>) -> u32 {
        match node {
            Node::View(ViewNode { kind: NodeKind::Status | NodeKind::ByThread(_), .. }) => 0,
            Node::Sysfs(_, entry) if entry.mode & 0o444 == 0o400 => 0,
            Node::View(ViewNode { kind: NodeKind::View(view), .. })
                if !self.is_read_only && view.pressure().is_some() =>
            {
                0
            }
            _ => NO_OWNER,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Source;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::process::Command;

    /// Root of a container reads what root alone may read, and has nothing else to take a lease on.
    #[test]
    fn what_root_alone_may_read_is_roots() {
        let copy = tempfile::tempdir().unwrap();
        let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v2-two-nodes/root");
        assert!(Command::new("cp").arg("-r").arg(tree).arg(copy.path()).status().unwrap().success());
        let root = copy.path().join("root");
        let nodes = root.join("sys/devices/system/node");
        for (file, mode) in [("node0/numastat", 0o400), ("node0/vmstat", 0o444)] {
            fs::set_permissions(nodes.join(file), fs::Permissions::from_mode(mode)).unwrap();
        }
        let service = Arc::new(Service::new(Source::open(&root, None).unwrap(), 1));
        let connection =
            ServedConnection { generation: 0, in_flight: InFlightTable::new(&[]), is_read_only: true };
        let served = Served::new(service, &ViewId::ALL, connection);
        let attributes = |path: &str| {
            let ino = path
                .split('/')
                .fold(INodeNo::ROOT, |parent, name| served.child(parent, OsStr::new(name)).unwrap().ino());
            let FileAttr { uid, perm, .. } = served.attributes(&served.find(ino).unwrap());
            (uid, perm)
        };
        assert_eq!(attributes("sys/devices/system/node/node0/numastat"), (0, 0o400));
        assert_eq!(attributes("sys/devices/system/node/node0/vmstat"), (NO_OWNER, 0o444));
        assert_eq!(attributes("proc/meminfo"), (NO_OWNER, 0o444));
    }
}
