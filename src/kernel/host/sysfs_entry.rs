//! Entries of `/sys/devices/system/cpu` and `node`, and their inode numbers.

use cgprocfs_core::topology::Link;
use rustix::fs::FileType;

/// Set in the inode numbers that are made from a path.
const PATH_INO: u64 = 1 << 61;

/// The entries of a directory, by name.
pub type Entries = Vec<(Vec<u8>, Entry)>;

/// The number of an inode below `sys/devices/system`: the kernel's, or one of ours for what the kernel does
/// not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SysfsIno(pub u64);

/// A file, a directory or a symbolic link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its inode number, which never changes.
    pub ino: SysfsIno,
    /// Which of these it is.
    pub kind: FileType,
    /// Its permissions.
    pub mode: u16,
}

impl Entry {
    /// The entry for a link between a CPU and a memory node.
    pub(crate) fn of_link(link: Link) -> Self {
        Self { ino: SysfsIno(link.number()), kind: FileType::Symlink, mode: 0o777 }
    }
}

/// The inode number for a path at which the kernel has nothing. Every process makes the same one (FNV-1a).
pub(crate) fn ino_of_path(path: &[u8]) -> SysfsIno {
    let hash = path.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    // The numbers of links have the next lower bit.
    SysfsIno(PATH_INO | hash & (PATH_INO / 2 - 1))
}

/// The path of `name` in the directory at `path`.
pub fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() }
}
