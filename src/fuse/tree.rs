//! The tree of directories and views, made from the views' paths, with files beside them that no listing
//! shows. It never changes while a server runs.

use crate::service::{ByThread, STATUS_FILE};
use cgprocfs_core::view::ViewId;
use fuser::INodeNo;
use std::ffi::OsStr;

/// The inode number of the root directory, which FUSE prescribes.
pub(super) const ROOT: INodeNo = INodeNo::ROOT;
/// That of the file in which the daemon says how it is.
const STATUS: INodeNo = INodeNo(9);
/// Those of the files that say what threads are told by system calls.
const BY_THREAD: [(ByThread, INodeNo); 2] =
    [(ByThread::SysInfo, INodeNo(10)), (ByThread::CpuShare, INodeNo(11))];

/// Whether a file is one that is read at the id of a thread.
pub(super) fn is_by_thread(ino: INodeNo) -> bool {
    BY_THREAD.iter().any(|(_, known)| *known == ino)
}

/// Directories and their inode numbers. Like those of views they never change, so entries are only ever
/// appended.
const DIRECTORIES: &[(&str, INodeNo)] = &[
    ("proc", INodeNo(2)),
    ("sys", INodeNo(3)),
    ("sys/devices", INodeNo(4)),
    ("sys/devices/system", INodeNo(5)),
    ("sys/devices/system/cpu", INodeNo(6)),
    ("proc/pressure", INodeNo(7)),
    ("sys/devices/system/node", INodeNo(8)),
];

/// What is there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum NodeKind {
    Directory,
    View(ViewId),
    /// What the daemon says of itself. It is in no listing.
    Status,
    /// What threads are told by system calls. It is in no listing.
    ByThread(ByThread),
}

/// A directory or a file.
pub(super) struct ViewNode {
    pub(super) ino: INodeNo,
    pub(super) parent: INodeNo,
    pub(super) name: &'static str,
    pub(super) kind: NodeKind,
}

impl ViewNode {
    /// Whether this is the directory at a path.
    pub(super) fn is_at(&self, path: &str) -> bool {
        DIRECTORIES.iter().any(|(directory, ino)| *directory == path && *ino == self.ino)
    }
}

/// All directories and views that are served.
pub(super) struct Tree {
    nodes: Vec<ViewNode>,
}

impl Tree {
    pub(super) fn new(views: &[ViewId]) -> Self {
        let mut nodes = vec![ViewNode { ino: ROOT, parent: ROOT, name: "", kind: NodeKind::Directory }];
        nodes.push(ViewNode { ino: STATUS, parent: ROOT, name: STATUS_FILE, kind: NodeKind::Status });
        nodes.extend(BY_THREAD.map(|(what, ino)| {
            let kind = NodeKind::ByThread(what);
            ViewNode { ino, parent: ROOT, name: what.name(), kind }
        }));
        let used = |path: &str| views.iter().any(|view| view.path().starts_with(&format!("{path}/")));
        for (path, ino) in DIRECTORIES.iter().filter(|(path, _)| used(path)) {
            let (parent, name) = split(path);
            nodes.push(ViewNode { ino: *ino, parent, name, kind: NodeKind::Directory });
        }
        for view in views {
            let (parent, name) = split(view.path());
            nodes.push(ViewNode { ino: INodeNo(view.ino()), parent, name, kind: NodeKind::View(*view) });
        }
        Self { nodes }
    }

    pub(super) fn node(&self, ino: INodeNo) -> Option<&ViewNode> {
        self.nodes.iter().find(|node| node.ino == ino)
    }

    pub(super) fn child(&self, parent: INodeNo, name: &OsStr) -> Option<&ViewNode> {
        self.nodes.iter().find(|node| node.parent == parent && node.ino != ROOT && node.name == name)
    }

    pub(super) fn children(&self, parent: INodeNo) -> impl Iterator<Item = &ViewNode> {
        let is_listed = |node: &&ViewNode| {
            node.ino != ROOT && matches!(node.kind, NodeKind::Directory | NodeKind::View(_))
        };
        self.nodes.iter().filter(move |node| node.parent == parent).filter(is_listed)
    }
}

/// The inode number of the directory that a path is in, and the name there.
fn split(path: &'static str) -> (INodeNo, &'static str) {
    match path.rsplit_once('/') {
        None => (ROOT, path),
        Some((directory, name)) => {
            let known = DIRECTORIES.iter().find(|(path, _)| *path == directory);
            (known.map_or(ROOT, |(_, ino)| *ino), name)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cgprocfs_core::view::ViewId;
    use std::collections::HashSet;

    #[test]
    fn every_view_is_found_by_walking_its_path() {
        let tree = Tree::new(&ViewId::ALL);
        for view in ViewId::ALL {
            let found = view
                .path()
                .split('/')
                .try_fold(ROOT, |ino, name| tree.child(ino, OsStr::new(name)).map(|node| node.ino));
            assert_eq!(found, Some(INodeNo(view.ino())), "{}: add its directory to DIRECTORIES", view.path());
        }
    }

    #[test]
    fn inodes_are_unique_and_parents_exist() {
        let tree = Tree::new(&ViewId::ALL);
        let inodes: HashSet<_> = tree.nodes.iter().map(|node| node.ino).collect();
        assert_eq!(inodes.len(), tree.nodes.len());
        assert!(tree.nodes.iter().all(|node| inodes.contains(&node.parent)));
        assert!(tree.child(ROOT, OsStr::new("proc/meminfo")).is_none());
        assert!(tree.child(ROOT, OsStr::new(STATUS_FILE)).is_some_and(|node| node.kind == NodeKind::Status));
        assert!(tree.children(ROOT).all(|node| !node.name.starts_with('.')));
        assert!(tree.child(ROOT, OsStr::new("")).is_none());
    }
}
