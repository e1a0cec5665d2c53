//! Writes a tree, from directory to directory, because whole paths may be longer than the kernel accepts.

use super::error::CopyError;
use crate::error::escaped;
use crate::kernel::read::PATH_DIR;
use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat, symlinkat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

/// A directory of the copy.
pub(crate) struct Directory(OwnedFd);

impl Directory {
    /// Opens a directory, and makes it if there is none.
    pub(crate) fn open(path: &Path) -> Result<Self, CopyError> {
        make(CWD, path.as_os_str().as_bytes())
    }

    /// Opens the directory `name` in this one, and makes it if there is none.
    pub(crate) fn child(&self, name: &[u8]) -> Result<Self, CopyError> {
        make(&self.0, name)
    }

    /// Opens the directory at a path below this one, and makes what is missing of it.
    pub(crate) fn below(&self, path: impl AsRef<Path>) -> Result<Self, CopyError> {
        let names = path.as_ref().components().filter_map(|component| match component {
            Component::Normal(name) => Some(name.as_bytes()),
            _ => None,
        });
        let mut below = None;
        for name in names {
            below = Some(make(below.as_ref().map_or(&self.0, |Self(directory)| directory), name)?);
        }
        below.map_or_else(|| make(&self.0, b"."), Ok)
    }

    /// Writes a file in this directory.
    pub(crate) fn write(&self, name: &str, text: &[u8]) -> Result<(), CopyError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(&self.0, name, flags, Mode::from_raw_mode(0o644))
            .map_err(Into::into)
            .and_then(|file| File::from(file).write_all(text))
            .map_err(|e| CopyError::Write(name.to_string(), e))
    }

    /// Writes a file at a path below this directory.
    pub(crate) fn write_path(&self, path: &str, text: &[u8]) -> Result<(), CopyError> {
        match path.rsplit_once('/') {
            Some((directory, name)) => self.below(directory)?.write(name, text),
            None => self.write(path, text),
        }
    }

    /// Makes a symbolic link at a path below this directory.
    pub(crate) fn link(&self, path: &str, target: &[u8]) -> Result<(), CopyError> {
        let (directory, name) = match path.rsplit_once('/') {
            Some((directory, name)) => (self.below(directory)?, name),
            None => (self.below("")?, path),
        };
        match symlinkat(OsStr::from_bytes(target), &directory.0, name) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(e) => Err(CopyError::Write(path.to_string(), e.into())),
        }
    }
}

fn make(directory: impl std::os::fd::AsFd, name: &[u8]) -> Result<Directory, CopyError> {
    let failed = |e: Errno| CopyError::Write(escaped(name), e.into());
    let path = OsStr::from_bytes(name);
    match mkdirat(&directory, path, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(e) => return Err(failed(e)),
    }
    openat(&directory, path, PATH_DIR | OFlags::NOFOLLOW, Mode::empty()).map(Directory).map_err(failed)
}
