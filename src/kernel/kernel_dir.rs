//! Opens files of the kernel, and nothing that somebody may have mounted over them: to read one of our own
//! views would be to wait for ourselves.
//!
//! openat2(2) could do so in one call, but its flags are in memory, where no seccomp filter can see that it
//! is not for writing.

use super::read::PATH_DIR;
use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags, openat, statx};
use rustix::io::{Errno, Result};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

/// Directories that exist as long as the system runs, and are opened once.
const PERMANENT: [&str; 3] = ["devices/system/cpu", "devices/system/node", "pressure"];

/// A directory like `/proc` or `/sys`, without what is mounted over it.
pub(crate) struct KernelDir {
    directory: OwnedFd,
    /// The mount that it is on; `None` if nothing can be mounted over anything in it.
    mount: Option<Mount>,
    permanent: [OnceLock<OwnedFd>; PERMANENT.len()],
}

/// What distinguishes one mount from another.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mount {
    /// Its id.
    Id(u64),
    /// Its device, before Linux 5.8: a view that is mounted over a file is on another file system.
    Device(u32, u32),
    /// Not known, because of the kernel or of a seccomp filter.
    Unknown,
}

impl KernelDir {
    /// The root of an instance of a file system that is attached nowhere.
    pub(crate) fn unattached(directory: OwnedFd) -> Self {
        Self { directory, mount: None, permanent: Default::default() }
    }

    /// A directory in which others may mount.
    pub(crate) fn attached(directory: OwnedFd) -> Result<Self> {
        let mount = Some(mount_at(&directory, "")?);
        Ok(Self { directory, mount, permanent: Default::default() })
    }

    /// Opens a directory in it.
    pub(crate) fn below(&self, path: &str) -> Result<Self> {
        let directory = self.open(path, PATH_DIR)?;
        Ok(Self { directory, mount: self.mount, permanent: Default::default() })
    }

    /// Opens the file at a path without links.
    ///
    /// # Errors
    /// EXDEV if something is mounted over it, or over a directory on the way; else the kernel's.
    pub(crate) fn open(&self, path: &str, flags: OFlags) -> Result<OwnedFd> {
        let Some(mount) = self.mount else { return openat(&self.directory, path, flags, Mode::empty()) };
        for (name, opened) in PERMANENT.iter().zip(&self.permanent) {
            if let Some(rest) = path.strip_prefix(name).and_then(|rest| rest.strip_prefix('/')) {
                let directory = match opened.get() {
                    Some(directory) => directory,
                    None => {
                        let directory = walk(self.directory.as_fd(), name, PATH_DIR, mount)?;
                        opened.get_or_init(|| directory)
                    }
                };
                return walk(directory.as_fd(), rest, flags, mount);
            }
        }
        walk(self.directory.as_fd(), path, flags, mount)
    }
}

impl AsFd for KernelDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

/// Opens a path step by step. Each step is checked before it is taken, because to open a view, or to look up
/// a name among views, is a request already.
fn walk(directory: BorrowedFd<'_>, path: &str, flags: OFlags, mount: Mount) -> Result<OwnedFd> {
    if let Some((first, rest)) = path.split_once('/') {
        is_on(directory, first, mount)?;
        let next = openat(directory, first, PATH_DIR | OFlags::NOFOLLOW, Mode::empty())?;
        return walk(next.as_fd(), rest, flags, mount);
    }
    is_on(directory, path, mount)?;
    let opened = openat(directory, path, flags | OFlags::NOFOLLOW, Mode::empty())?;
    // Something may have been mounted there meanwhile. Then we have waited for ourselves once, and discard
    // the answer.
    is_on(opened.as_fd(), "", mount)?;
    Ok(opened)
}

fn is_on(directory: BorrowedFd<'_>, name: &str, mount: Mount) -> Result<()> {
    if mount_at(directory, name)? == mount { Ok(()) } else { Err(Errno::XDEV) }
}

/// Which mount a file is on, without asking whoever serves it.
fn mount_at(directory: impl AsFd, name: &str) -> Result<Mount> {
    // `STATX_MNT_ID`
    const MOUNT: StatxFlags = StatxFlags::MNT_ID;
    let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_DONT_SYNC;
    match statx(directory, name, flags, MOUNT) {
        Ok(found) if found.stx_mask & MOUNT.bits() != 0 => Ok(Mount::Id(found.stx_mnt_id)),
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

    fn open(path: &Path) -> KernelDir {
        KernelDir::attached(openat(CWD, path, PATH_DIR, Mode::empty()).unwrap()).unwrap()
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
        let kernel_dir = open(directory.path());
        for path in ["top", "one/two/three", "devices/system/cpu/online", "devices/system/cpu/cpu0/core_id"] {
            for _ in 0..2 {
                assert_eq!(text(kernel_dir.open(path, READ)).as_deref(), Ok(path));
            }
        }
        assert_eq!(text(kernel_dir.open("one/none", READ)), Err(Errno::NOENT));
        assert_eq!(text(kernel_dir.open("none/two", READ)), Err(Errno::NOENT));
        assert_eq!(text(kernel_dir.open("devices/system/cpu/none", READ)), Err(Errno::NOENT));
    }

    /// In the root directory everything that is mounted covers something.
    #[test]
    fn what_is_laid_over_a_file_or_a_directory_is_not_opened() {
        let root = open(Path::new("/"));
        for path in ["proc", "proc/meminfo", "sys/devices/system/cpu/online"] {
            assert_eq!(text(root.open(path, READ)), Err(Errno::XDEV), "{path}");
        }
        assert!(text(open(Path::new("/proc")).open("meminfo", READ)).unwrap().starts_with("MemTotal"));
        assert!(open(Path::new("/sys")).open("devices/system/cpu/online", READ).is_ok());
    }
}
