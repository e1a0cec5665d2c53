//! Attributes of a file system with one directory and one file. Tests and benchmarks share them.

use fuser::{FileAttr, FileType, INodeNo};
use std::time::UNIX_EPOCH;

/// Those of the root directory, or of the file.
pub fn attributes(ino: INodeNo) -> FileAttr {
    let (kind, perm) =
        if ino == INodeNo::ROOT { (FileType::Directory, 0o555) } else { (FileType::RegularFile, 0o444) };
    FileAttr {
        ino,
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind,
        perm,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}
