//! Page cache that reclaim passes by, because `memory.min` of cgroup v2 protects it.
//!
//! Where a cgroup is at its limit the kernel reclaims below it, but not from a child that uses no more than
//! its `memory.min` (`mem_cgroup_calculate_protection()`, `mm/memcontrol.c`): what such a child has cached,
//! nobody else can have. `memory.low` gives way before the kernel kills, so that it does not count here.

use crate::error::{Error, escaped};
use crate::kernel::procfs::{PATH_DIR, READ, read_whole};
use crate::sys;
use cgprocfs_core::parse::CgroupVersion;
use cgprocfs_core::parse::ParseError;
use cgprocfs_core::parse::counter::{limit, usage};
use cgprocfs_core::parse::memory_stat::memory_stat;
use cgprocfs_core::units::Bytes;
use parking_lot::Mutex;
use rustix::fs::{Dir, FileType, Mode, OFlags, fstat, openat};
use std::ffi::CString;
use std::hash::{BuildHasher, RandomState};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long it is remembered which children have a `memory.min`.
const VALID: Duration = Duration::from_secs(1);
/// To look at all children takes no more than this part of a processor: a tenant may make many.
const SHARE: u32 = 100;
/// But what was seen is not used for longer, however many there are.
const LONGEST: Duration = Duration::from_secs(30);
/// Of so many protected children what they use is read for each answer, of more only as often as all children are looked at.
const FEW: usize = 16;
/// No serving thread looks at more children than so many.
const MANY: u64 = 64;

/// The children of one limited cgroup that have a `memory.min`.
#[derive(Default)]
pub(crate) struct Protected {
    /// What was seen last, and until when it is good enough.
    seen: Mutex<Option<(Arc<Seen>, Instant)>>,
    /// Held by who looks.
    looking: Mutex<()>,
}

enum Seen {
    /// Names, and how much is protected at most.
    Few(Vec<(CString, Bytes)>),
    /// What is protected of each child, by the hash of its name. One of them is the reader's.
    Many(Vec<(u64, Bytes)>, RandomState),
}

impl Protected {
    /// The reclaimable memory of the children of `parent` that its reclaim can't have. `path` is the
    /// parent's, for messages. The child that the reader is in has to be left out by its name, `reader`: as
    /// it grows, it grows out of its protection.
    ///
    /// A child's own children share its protection, as the mount option `memory_recursiveprot` has it, which
    /// systemd sets everywhere.
    ///
    /// # Errors
    /// [`Error::TakesLong`] where there are many children to look at, unless whoever waits `may_take_long`.
    pub(crate) fn bytes(
        &self,
        parent: &OwnedFd,
        path: &[u8],
        reader: &[u8],
        may_take_long: bool,
        buffer: &mut Vec<u8>,
    ) -> Result<Bytes, Error> {
        match &*self.seen(parent, path, may_take_long, buffer)? {
            Seen::Few(children) => {
                let mut sum = Bytes::ZERO;
                for (name, minimum) in children.iter().filter(|(name, _)| name.as_bytes() != reader) {
                    sum = sum + of_child(parent, path, name, *minimum, buffer)?.unwrap_or_default();
                }
                Ok(sum)
            }
            Seen::Many(children, hasher) => {
                let reader = hasher.hash_one(reader);
                Ok(children.iter().filter(|(name, _)| *name != reader).map(|(_, bytes)| *bytes).sum())
            }
        }
    }

    fn seen(
        &self,
        parent: &OwnedFd,
        path: &[u8],
        may_take_long: bool,
        buffer: &mut Vec<u8>,
    ) -> Result<Arc<Seen>, Error> {
        let known_for = |longer: Duration| {
            let seen = self.seen.lock();
            seen.as_ref().map(|(seen, until)| (Arc::clone(seen), Instant::now() < *until + longer))
        };
        let known = || known_for(Duration::ZERO);
        let takes_long = || Error::TakesLong(escaped(path));
        match known() {
            Some((seen, true)) => return Ok(seen),
            // Directories of kernfs have a link for each child.
            _ if !may_take_long && fstat(parent).is_ok_and(|stat| stat.st_nlink > MANY + 2) => {
                // Who may take long has time to renew it.
                return match known_for(LONGEST) {
                    Some((seen, true)) => Ok(seen),
                    _ => Err(takes_long()),
                };
            }
            _ => {}
        }
        // Containers share the levels above them, and who looks there may be in no hurry.
        let looking = self.looking.try_lock();
        let _looking = match (looking, known()) {
            (Some(looking), _) => looking,
            (None, Some((seen, _))) => return Ok(seen),
            (None, None) if may_take_long => self.looking.lock(),
            (None, None) => return Err(takes_long()),
        };
        if let Some((seen, true)) = known() {
            return Ok(seen);
        }
        let before = sys::thread_time();
        let seen = Arc::new(look(parent, path, buffer)?);
        let pause = ((sys::thread_time().saturating_sub(before)) * SHARE).clamp(VALID, LONGEST);
        *self.seen.lock() = Some((Arc::clone(&seen), Instant::now() + pause));
        Ok(seen)
    }
}

/// Looks at all children.
fn look(parent: &OwnedFd, path: &[u8], buffer: &mut Vec<u8>) -> Result<Seen, Error> {
    let children = with_minimum(parent, path, buffer)?;
    if children.len() <= FEW {
        return Ok(Seen::Few(children));
    }
    let hasher = RandomState::new();
    let mut many = Vec::with_capacity(children.len());
    for (name, minimum) in children {
        if let Some(bytes) = of_child(parent, path, &name, minimum, buffer)? {
            many.push((hasher.hash_one(name.as_bytes()), bytes));
        }
    }
    Ok(Seen::Many(many, hasher))
}

/// The children that have a `memory.min`, and how much that is.
fn with_minimum(parent: &OwnedFd, path: &[u8], buffer: &mut Vec<u8>) -> Result<Vec<(CString, Bytes)>, Error> {
    let unreadable = |e| Error::of_cgroup(path, e);
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
        // One that makes no sense is no promise.
        let minimum = |text: &[u8]| Ok(limit(text).unwrap_or(Some(Bytes::ZERO)));
        let minimum = child.read("memory.min", buffer, minimum)?;
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
    // One that makes no sense has drifted below 0.
    let used = child.read("memory.current", buffer, |text| Ok(usage(text).unwrap_or_default()))?;
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
        let shown = || format!("{}/{}/{file}", escaped(self.path), escaped(self.name.to_bytes()));
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
