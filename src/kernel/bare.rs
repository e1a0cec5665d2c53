//! Files of the kernel, and not what somebody may have laid over them: to read one of our own views would be waiting for
//! ourselves.
//!
//! openat2(2) could say so in one call, but its flags are in memory, where no list of system calls can see that it is not
//! for writing.

use super::read::PATH_DIR;
use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags, openat, statx};
use rustix::io::{Errno, Result};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

/// Directories that are there as long as the system is, and are opened once.
const LASTING: [&str; 3] = ["devices/system/cpu", "devices/system/node", "pressure"];

/// A directory like `/proc` or `/sys`.
pub(crate) struct Bare {
    directory: OwnedFd,
    /// Which mount it is on; `None` where nothing can be laid over anything in it.
    mount: Option<Mount>,
    lasting: [OnceLock<OwnedFd>; LASTING.len()],
}

/// What tells one mount from another.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mount {
    /// Its number.
    Number(u64),
    /// Its device, before Linux 5.8: what is laid over a file is of another file system, if it is a view.
    Device(u32, u32),
    /// The kernel, or a filter, does not say.
    Unknown,
}

impl Bare {
    /// A directory in an instance of a file system that is attached nowhere.
    pub(crate) fn of_own(directory: OwnedFd) -> Self {
        Self { directory, mount: None, lasting: Default::default() }
    }

    /// One where others may mount.
    pub(crate) fn among_others(directory: OwnedFd) -> Result<Self> {
        let mount = Some(mount_at(&directory, "")?);
        Ok(Self { directory, mount, lasting: Default::default() })
    }

    /// A directory in it.
    pub(crate) fn below(&self, path: &str) -> Result<Self> {
        let directory = self.open(path, PATH_DIR)?;
        Ok(Self { directory, mount: self.mount, lasting: Default::default() })
    }

    /// Opens what is at a path without links; EXDEV where something is laid over it, or over a directory on the way.
    pub(crate) fn open(&self, path: &str, flags: OFlags) -> Result<OwnedFd> {
        let Some(mount) = self.mount else { return openat(&self.directory, path, flags, Mode::empty()) };
        for (place, lasting) in LASTING.iter().zip(&self.lasting) {
            if let Some(rest) = path.strip_prefix(place).and_then(|rest| rest.strip_prefix('/')) {
                let directory = match lasting.get() {
                    Some(directory) => directory,
                    None => {
                        let opened = walk(self.directory.as_fd(), place, PATH_DIR, mount)?;
                        lasting.get_or_init(|| opened)
                    }
                };
                return walk(directory.as_fd(), rest, flags, mount);
            }
        }
        walk(self.directory.as_fd(), path, flags, mount)
    }
}

impl AsFd for Bare {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

/// Each step is looked at before it is taken, for to open a view, or to look for a name among them, is a request already.
fn walk(directory: BorrowedFd<'_>, path: &str, flags: OFlags, mount: Mount) -> Result<OwnedFd> {
    if let Some((first, rest)) = path.split_once('/') {
        is_on(directory, first, mount)?;
        let next = openat(directory, first, PATH_DIR | OFlags::NOFOLLOW, Mode::empty())?;
        return walk(next.as_fd(), rest, flags, mount);
    }
    is_on(directory, path, mount)?;
    let opened = openat(directory, path, flags | OFlags::NOFOLLOW, Mode::empty())?;
    // Something may have been laid there meanwhile: then we have waited for ourselves once, and don't take the answer.
    is_on(opened.as_fd(), "", mount)?;
    Ok(opened)
}

fn is_on(directory: BorrowedFd<'_>, name: &str, mount: Mount) -> Result<()> {
    if mount_at(directory, name)? == mount { Ok(()) } else { Err(Errno::XDEV) }
}

/// On which mount something is; whoever serves it is not asked.
fn mount_at(directory: impl AsFd, name: &str) -> Result<Mount> {
    // `STATX_MNT_ID`
    const MOUNT: StatxFlags = StatxFlags::MNT_ID;
    let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_DONT_SYNC;
    match statx(directory, name, flags, MOUNT) {
        Ok(found) if found.stx_mask & MOUNT.bits() != 0 => Ok(Mount::Number(found.stx_mnt_id)),
        Ok(found) => Ok(Mount::Device(found.stx_dev_major, found.stx_dev_minor)),
        // Before Linux 4.11, or behind a filter that knows no statx(2).
        Err(Errno::NOSYS | Errno::PERM) => Ok(Mount::Unknown),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::read::READ;
    use rustix::fs::CWD;
    use std::fs::{self, File};
    use std::io::Read as _;
    use std::path::Path;

    fn bare(path: &Path) -> Bare {
        Bare::among_others(openat(CWD, path, PATH_DIR, Mode::empty()).unwrap()).unwrap()
    }

    fn text(opened: Result<OwnedFd>) -> Result<String> {
        let mut text = String::new();
        File::from(opened?).read_to_string(&mut text).unwrap();
        Ok(text)
    }

    #[test]
    fn files_are_opened_at_whatever_depth() {
        let directory = tempfile::tempdir().unwrap();
        for path in ["top", "one/two/three", "devices/system/cpu/online", "devices/system/cpu/cpu0/core_id"] {
            let file = directory.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, path).unwrap();
        }
        let bare = bare(directory.path());
        for path in ["top", "one/two/three", "devices/system/cpu/online", "devices/system/cpu/cpu0/core_id"] {
            for _ in 0..2 {
                assert_eq!(text(bare.open(path, READ)).as_deref(), Ok(path));
            }
        }
        assert_eq!(text(bare.open("one/none", READ)), Err(Errno::NOENT));
        assert_eq!(text(bare.open("none/two", READ)), Err(Errno::NOENT));
        assert_eq!(text(bare.open("devices/system/cpu/none", READ)), Err(Errno::NOENT));
    }

    /// In the root directory everything that is mounted is laid over something.
    #[test]
    fn what_is_laid_over_a_file_or_a_directory_is_not_opened() {
        let root = bare(Path::new("/"));
        for path in ["proc", "proc/meminfo", "sys/devices/system/cpu/online"] {
            assert_eq!(text(root.open(path, READ)), Err(Errno::XDEV), "{path}");
        }
        assert!(text(bare(Path::new("/proc")).open("meminfo", READ)).unwrap().starts_with("MemTotal"));
        assert!(bare(Path::new("/sys")).open("devices/system/cpu/online", READ).is_ok());
    }
}
