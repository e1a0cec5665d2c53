//! Copies files as they are.

use super::error::CopyError;
use super::tree::Directory;
use crate::error::Error;
use crate::kernel::cgroup::huge_pages::size_name;
use crate::kernel::read::{PATH_DIR, READ, read_whole};
use cgprocfs_core::parse::decimal;
use cgprocfs_core::units::Kib;
use rustix::fs::{Dir, FileType, Mode, openat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

/// Copies the pools of huge pages of the host or a node, and returns the names of their sizes in the hugetlb
/// controller's files.
pub(crate) fn copy_pools(from: &OwnedFd, to: &Directory) -> Result<Vec<String>, CopyError> {
    let mut sizes = Vec::new();
    for name in directories(from) {
        let kib = name.strip_prefix(b"hugepages-").and_then(|size| decimal(size.strip_suffix(b"kB")?).ok());
        let Some(kib) = kib else { continue };
        sizes.push(size_name(Kib::new(kib)));
        if let Ok(pool) = openat(from, OsStr::from_bytes(&name), PATH_DIR, Mode::empty()) {
            copy_files(&pool, &to.child(&name)?, &["nr_hugepages", "free_hugepages"])?;
        }
    }
    Ok(sizes)
}

/// The names of the directories in a directory that is open for listing.
pub(crate) fn directories(listed: &OwnedFd) -> impl Iterator<Item = Vec<u8>> + use<> {
    let entries = Dir::read_from(listed).into_iter().flatten().filter_map(Result::ok);
    let directories = entries.filter(|entry| entry.file_type() == FileType::Directory);
    let names = directories.map(|entry| entry.file_name().to_bytes().to_vec());
    names.filter(|name| name != b"." && name != b"..")
}

/// Reads a file to its end, however many reads that takes.
pub(crate) fn read(file: OwnedFd) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::from(file).read_to_end(&mut text)?;
    Ok(text)
}

/// Reads a file that is one record.
pub(crate) fn read_file(directory: &OwnedFd, name: &str) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    read_whole(openat(directory, name, READ, Mode::empty())?, &mut text)?;
    Ok(text)
}

/// Copies the files that are there.
pub(crate) fn copy_files(from: &OwnedFd, to: &Directory, names: &[impl AsRef<str>]) -> Result<(), CopyError> {
    for name in names {
        copy_path(to, name.as_ref(), read_file(from, name.as_ref()))?;
    }
    Ok(())
}

/// Writes a text that was read. A file that could not be read is missing in the copy, where an answer finds
/// the same as here.
pub(crate) fn copy_path(to: &Directory, path: &str, text: io::Result<Vec<u8>>) -> Result<(), CopyError> {
    match text {
        Ok(text) => to.write_path(path, &text),
        Err(error) if Errno::from_io_error(&error) == Some(Errno::NODEV) => {
            Err(Error::CgroupGone(path.to_string()).into())
        }
        Err(_) => Ok(()),
    }
}
