//! Reads `/sys/devices/system`, with what containers have there at numbers of CPUs that the host lacks.

use super::masked;
use super::sysfs_entry::{Entries, Entry, SysfsIno, ino_of_path, join};
use super::ttl_cell::TtlCell;
use crate::kernel::kernel_dir::KernelDir;
use crate::kernel::read::{LIST_DIR, PATH_DIR, READ, read_with};
use cgprocfs_core::parse::cpu_list::CpuList;
use cgprocfs_core::topology::{self, Link};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, readlinkat, statat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// How often the list of CPUs that are online is read at most.
const ONLINE_MAX_AGE: Duration = Duration::from_secs(1);

/// The directory `/sys/devices/system`.
pub(crate) struct Sysfs {
    /// `None` if there is none.
    directory: Option<OwnedFd>,
    /// The CPUs that are online.
    online: TtlCell<CpuList>,
}

impl Sysfs {
    pub(crate) fn open(sys: Option<&KernelDir>) -> Self {
        let directory = sys.and_then(|sys| sys.open("devices/system", PATH_DIR).ok());
        Self { directory, online: TtlCell::with_max_age(ONLINE_MAX_AGE) }
    }

    fn directory(&self) -> Result<&OwnedFd, Errno> {
        self.directory.as_ref().ok_or(Errno::NOENT)
    }

    /// The entry at a path.
    ///
    /// # Errors
    /// The error that the kernel returns, above all ENOENT.
    pub(crate) fn entry(&self, path: &[u8]) -> Result<Entry, Errno> {
        if masked::is_masked(path) {
            return Err(Errno::NOENT);
        }
        if let Some(link) = Link::at(path) {
            let is_there = self.has_cpu(link.cpu)
                && self.native_entry(format!("node/node{}", link.node).as_bytes()).is_ok();
            return if is_there { Ok(Entry::of_link(link)) } else { Err(Errno::NOENT) };
        }
        match (self.native_entry(path), topology::of_processor(path)) {
            (Err(Errno::NOENT | Errno::NOTDIR), Some((number, rest))) if self.may_be_numbered(number) => {
                let entry = self.entry_of_others(rest)?;
                Ok(Entry { ino: ino_of_path(path), ..entry })
            }
            (found, _) => found,
        }
    }

    fn native_entry(&self, path: &[u8]) -> Result<Entry, Errno> {
        let status = statat(self.directory()?, to_path(path), AtFlags::SYMLINK_NOFOLLOW)?;
        let mode = u16::try_from(status.st_mode & 0o7777).unwrap_or(0);
        Ok(Entry { ino: SysfsIno(status.st_ino), kind: FileType::from_raw_mode(status.st_mode), mode })
    }

    /// The entry of the first CPU at a path, or of the last one: the boot CPU lacks what others have, and if
    /// there are two kinds of CPUs these have different numbers.
    fn entry_of_others(&self, rest: &[u8]) -> Result<Entry, Errno> {
        let online = self.online();
        let (first, last) = (online.iter().next(), online.iter().next_back());
        let of = |number: u32| self.native_entry(&[format!("cpu/cpu{number}").as_bytes(), rest].concat());
        first.map_or(Err(Errno::NOENT), of).or_else(|_| last.map_or(Err(Errno::NOENT), of))
    }

    fn has_cpu(&self, number: u32) -> bool {
        self.may_be_numbered(number) || self.native_entry(format!("cpu/cpu{number}").as_bytes()).is_ok()
    }

    /// Whether a container can have a CPU of that number.
    fn may_be_numbered(&self, number: u32) -> bool {
        usize::try_from(number).is_ok_and(|number| number < self.online().len())
    }

    /// The host's CPUs that are online, or were a moment ago.
    pub(crate) fn online(&self) -> CpuList {
        let online = self.online.get(|| {
            let text = self.text(b"cpu/online")?;
            CpuList::parse(&text).map_err(|_| Errno::INVAL)
        });
        online.unwrap_or_default()
    }

    /// Lists the kernel's directory at a path.
    pub(crate) fn list(&self, path: &[u8]) -> Result<Entries, Errno> {
        let opened = openat(self.directory()?, to_path(path), LIST_DIR | OFlags::NOFOLLOW, Mode::empty())?;
        let names =
            Dir::new(opened)?.filter_map(Result::ok).map(|entry| entry.file_name().to_bytes().to_vec());
        let names = names.filter(|name| name != b"." && name != b"..");
        // An entry may be removed meanwhile.
        Ok(names.filter_map(|name| Some((name.clone(), self.entry(&join(path, &name)).ok()?))).collect())
    }

    /// Where the kernel's symbolic link at a path leads.
    pub(crate) fn link_target(&self, path: &[u8]) -> Result<Vec<u8>, Errno> {
        Ok(readlinkat(self.directory()?, to_path(path), Vec::new())?.into_bytes())
    }

    /// Reads the text of the kernel's file at a path.
    pub(crate) fn text(&self, path: &[u8]) -> Result<Vec<u8>, Errno> {
        let opened = openat(self.directory()?, to_path(path), READ, Mode::empty())?;
        crate::failpoint::slow_file();
        // An attribute is one record.
        read_with(opened, <[u8]>::to_vec).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }
}

fn to_path(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(if path.is_empty() { b"." } else { path }))
}
