//! Page cache that reclaim passes by, because `memory.min` of cgroup v2 protects it.
//!
//! Where a cgroup is at its limit the kernel reclaims below it, but not from a child that uses no more than
//! its `memory.min` (`mem_cgroup_calculate_protection()`, `mm/memcontrol.c`): what such a child has cached,
//! nobody else can have. `memory.low` gives way before the kernel kills, so that it does not count here.

use super::procfs::{PATH_DIR, READ, read_whole};
use crate::bytes::Bytes;
use crate::error::{Error, printable};
use crate::parse::CgroupVersion;
use crate::parse::ParseError;
use crate::parse::counter::{limit, usage};
use crate::parse::memory_stat::memory_stat;
use parking_lot::Mutex;
use rustix::fs::{Dir, FileType, Mode, OFlags, openat};
use rustix::io::Errno;
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// How long it is remembered which children have a `memory.min`; what they use is read each time.
const VALID: Duration = Duration::from_secs(1);
/// A look at all children takes no more than this part of the time: a tenant may make many.
const SHARE: u32 = 100;

/// The children of one limited cgroup that have a `memory.min`.
#[derive(Default)]
pub(super) struct Protected {
    found: Mutex<Option<Found>>,
}

struct Found {
    children: Vec<(CString, Bytes)>,
    valid_until: Instant,
}

impl Protected {
    /// The reclaimable memory of the children of `parent` that its reclaim can't have. `path` is the
    /// parent's, for messages. The child that the reader is in has to be left out by its name, `reader`: as
    /// it grows, it grows out of its protection.
    ///
    /// A child's own children share its protection, as the mount option `memory_recursiveprot` has it, which
    /// systemd sets everywhere.
    pub(super) fn bytes(
        &self,
        parent: &OwnedFd,
        path: &[u8],
        reader: &[u8],
        buffer: &mut Vec<u8>,
    ) -> Result<Bytes, Error> {
        let mut found = self.found.lock();
        let valid = found.as_ref().is_some_and(|found| Instant::now() < found.valid_until);
        if !valid {
            let started = Instant::now();
            let children = look(parent, path, buffer)?;
            let pause = VALID.max(started.elapsed() * SHARE);
            *found = Some(Found { children, valid_until: Instant::now() + pause });
        }
        let children = found.iter().flat_map(|found| &found.children);
        let mut sum = Bytes::ZERO;
        for (name, minimum) in children.filter(|(name, _)| name.as_bytes() != reader) {
            sum = sum + of_child(parent, path, name, *minimum, buffer)?.unwrap_or_default();
        }
        Ok(sum)
    }
}

/// The children that have a `memory.min`, and how much that is.
fn look(parent: &OwnedFd, path: &[u8], buffer: &mut Vec<u8>) -> Result<Vec<(CString, Bytes)>, Error> {
    let unreadable = |e: Errno| match e {
        Errno::NOENT => Error::CgroupGone(printable(path)),
        e => Error::unreadable(printable(path), e),
    };
    let list = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat(parent, ".", list, Mode::empty()).map_err(unreadable)?;
    let mut children = Vec::new();
    for entry in Dir::new(directory).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name();
        if entry.file_type() != FileType::Directory || name == c"." || name == c".." {
            continue;
        }
        let child = Child { parent, path, name };
        let minimum = child.read("memory.min", buffer, limit)?;
        // A limit of "max" is none, a protection of "max" is for all there is.
        match minimum.map(|minimum| minimum.unwrap_or(Bytes::new(u64::MAX))) {
            None | Some(Bytes::ZERO) => {}
            Some(minimum) => children.push((name.to_owned(), minimum)),
        }
    }
    Ok(children)
}

/// `None`: the child is gone.
fn of_child(
    parent: &OwnedFd,
    path: &[u8],
    name: &CString,
    minimum: Bytes,
    buffer: &mut Vec<u8>,
) -> Result<Option<Bytes>, Error> {
    let child = Child { parent, path, name };
    let stat = child.read("memory.stat", buffer, |text| memory_stat(CgroupVersion::V2, text))?;
    let used = child.read("memory.current", buffer, usage)?;
    let (Some(stat), Some(used)) = (stat, used) else { return Ok(None) };
    let unprotected = used - minimum;
    Ok(Some(stat.reclaimable() - unprotected))
}

struct Child<'a> {
    parent: &'a OwnedFd,
    path: &'a [u8],
    name: &'a std::ffi::CStr,
}

impl Child<'_> {
    /// Reads a file; `None` where the child, or the controller in it, is gone.
    fn read<T>(
        &self,
        file: &str,
        buffer: &mut Vec<u8>,
        parse: impl FnOnce(&[u8]) -> Result<T, ParseError>,
    ) -> Result<Option<T>, Error> {
        let shown = || format!("{}/{}/{file}", printable(self.path), printable(self.name.to_bytes()));
        let read = |buffer: &mut Vec<u8>| {
            let directory = openat(self.parent, self.name, PATH_DIR, Mode::empty())?;
            read_whole(openat(directory, file, READ, Mode::empty())?, buffer)
        };
        match read(buffer) {
            Ok(()) => parse(buffer).map(Some).map_err(|e| Error::malformed(shown(), e)),
            // Gone, or closed to us by its owner, who can't hurt others by that.
            Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENODEV | libc::EACCES)) => {
                Ok(None)
            }
            Err(e) => Err(Error::unreadable(shown(), e)),
        }
    }
}
