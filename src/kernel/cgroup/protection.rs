//! Page cache that reclaim passes over because `memory.min` of cgroup v2 protects it.
//!
//! Where a cgroup is at its limit the kernel reclaims below it, but not from a child that uses no more than
//! its `memory.min` (`mem_cgroup_calculate_protection()`, `mm/memcontrol.c`): what such a child has cached,
//! nobody else can have. `memory.low` gives way before the kernel kills, so that it does not count here.

use super::child_directories::child_directories;
use crate::error::{Error, escaped};
use crate::kernel::read::{PATH_DIR, READ, read_with};
use crate::rate_limited_log::{malformed_counter, malformed_value};
use crate::sys;
use cgprocfs_core::parse::CgroupVersion;
use cgprocfs_core::parse::ParseError;
use cgprocfs_core::parse::counter::{limit, usage};
use cgprocfs_core::parse::memory_stat::MemoryStat;
use cgprocfs_core::units::Bytes;
use parking_lot::Mutex;
use rustix::fs::{Mode, fstat, openat};
use std::ffi::CString;
use std::hash::{BuildHasher, RandomState};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a scan is valid at least.
const MIN_VALIDITY: Duration = Duration::from_secs(1);
/// A scan is valid this many times as long as it took, so that scanning takes no more than one hundredth of a
/// CPU: a tenant may make any number of children.
const VALIDITY_PER_SCAN_TIME: u32 = 100;
/// How long a scan is valid at most, however long it took; and how much longer a serving thread uses it.
const MAX_VALIDITY: Duration = Duration::from_secs(30);
/// Up to how many protected children have their usage read for each answer. The usage of more is read only
/// with each scan.
const MAX_READ_PER_ANSWER: usize = 16;
/// How many children a serving thread scans at most.
const MAX_CHILDREN_WHEN_SERVING: u64 = 64;

/// The children of one limited cgroup that have a `memory.min`.
#[derive(Default)]
pub(crate) struct Protected {
    /// The last scan, and until when it is recent enough.
    scanned: Mutex<Option<(Arc<Scan>, Instant)>>,
    /// Held by the thread that scans.
    scanning: Mutex<()>,
}

/// What a scan of all children has found.
enum Scan {
    /// The names, and how much is protected at most.
    Few(Vec<(CString, Bytes)>),
    /// What is protected of each child, by the hash of its name. One of them may be the reader's.
    Many(Vec<(u64, Bytes)>, RandomState),
}

impl Protected {
    /// The reclaimable memory of the children of `parent` that its reclaim can't have. `path` is the
    /// parent's, for messages. The child that the reader is in, of the name `readers_child`, is left out: as
    /// it grows, it grows out of its protection.
    ///
    /// A child's own children are taken to share its protection, as with the mount option
    /// `memory_recursiveprot`, which systemd sets everywhere.
    ///
    /// # Errors
    /// [`Error::TakesLong`] if there are many children to scan, unless the caller `may_take_long`.
    pub(crate) fn bytes(
        &self,
        parent: &OwnedFd,
        path: &[u8],
        readers_child: &[u8],
        may_take_long: bool,
    ) -> Result<Bytes, Error> {
        match &*self.scan(parent, path, may_take_long)? {
            Scan::Few(children) => {
                let mut sum = Bytes::ZERO;
                for (name, minimum) in children.iter().filter(|(name, _)| name.as_bytes() != readers_child) {
                    sum = sum + protected_of(parent, path, name, *minimum)?.unwrap_or_default();
                }
                Ok(sum)
            }
            Scan::Many(children, hasher) => {
                let readers_child = hasher.hash_one(readers_child);
                Ok(children.iter().filter(|(name, _)| *name != readers_child).map(|(_, bytes)| *bytes).sum())
            }
        }
    }

    fn scan(&self, parent: &OwnedFd, path: &[u8], may_take_long: bool) -> Result<Arc<Scan>, Error> {
        let known_for = |longer: Duration| {
            let scanned = self.scanned.lock();
            scanned.as_ref().map(|(scan, until)| (Arc::clone(scan), Instant::now() < *until + longer))
        };
        let known = || known_for(Duration::ZERO);
        let takes_long = || Error::TakesLong(path.into());
        match known() {
            Some((scan, true)) => return Ok(scan),
            // Directories of kernfs have a link for each child.
            _ if !may_take_long
                && fstat(parent).is_ok_and(|stat| stat.st_nlink > MAX_CHILDREN_WHEN_SERVING + 2) =>
            {
                // A thread that may take long will scan anew.
                return match known_for(MAX_VALIDITY) {
                    Some((scan, true)) => Ok(scan),
                    _ => Err(takes_long()),
                };
            }
            _ => {}
        }
        // Containers share the levels above them, and the thread that scans there may be in no hurry.
        let scanning = self.scanning.try_lock();
        let _scanning = match (scanning, known()) {
            (Some(scanning), _) => scanning,
            (None, Some((scan, _))) => return Ok(scan),
            (None, None) if may_take_long => self.scanning.lock(),
            (None, None) => return Err(takes_long()),
        };
        if let Some((scan, true)) = known() {
            return Ok(scan);
        }
        let before = sys::thread_time();
        let scan = Arc::new(scan_children(parent, path)?);
        let validity = ((sys::thread_time().saturating_sub(before)) * VALIDITY_PER_SCAN_TIME)
            .clamp(MIN_VALIDITY, MAX_VALIDITY);
        *self.scanned.lock() = Some((Arc::clone(&scan), Instant::now() + validity));
        Ok(scan)
    }
}

/// Scans all children.
fn scan_children(parent: &OwnedFd, path: &[u8]) -> Result<Scan, Error> {
    let children = protected_children(parent, path)?;
    if children.len() <= MAX_READ_PER_ANSWER {
        return Ok(Scan::Few(children));
    }
    let hasher = RandomState::new();
    let mut many = Vec::with_capacity(children.len());
    for (name, minimum) in children {
        if let Some(bytes) = protected_of(parent, path, &name, minimum)? {
            many.push((hasher.hash_one(name.as_bytes()), bytes));
        }
    }
    Ok(Scan::Many(many, hasher))
}

/// The children that have a `memory.min`, and how much that is.
fn protected_children(parent: &OwnedFd, path: &[u8]) -> Result<Vec<(CString, Bytes)>, Error> {
    let unreadable = |e| Error::of_cgroup(path, e);
    let mut children = Vec::new();
    for entry in child_directories(parent).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name();
        let child = Child { parent, path, name };
        // A malformed one protects nothing.
        let minimum = |text: &[u8]| Ok(limit(text).unwrap_or(Some(Bytes::ZERO)));
        let minimum = child.read("memory.min", minimum)?;
        // A limit of "max" is no limit; a protection of "max" covers everything.
        match minimum.map(|minimum| minimum.unwrap_or(Bytes::new(u64::MAX))) {
            None | Some(Bytes::ZERO) => {}
            Some(minimum) => children.push((name.to_owned(), minimum)),
        }
    }
    Ok(children)
}

/// How much reclaimable memory of a child is protected; `None` if the child is gone.
fn protected_of(
    parent: &OwnedFd,
    path: &[u8],
    name: &CString,
    minimum: Bytes,
) -> Result<Option<Bytes>, Error> {
    let child = Child { parent, path, name };
    let stat = child.read("memory.stat", |text| MemoryStat::parse(CgroupVersion::V2, text))?;
    let used = child.read("memory.current", |text| Ok(usage(text)))?;
    let (Some(stat), Some(used)) = (stat, used) else { return Ok(None) };
    let cgroup = || [path.strip_suffix(b"/").unwrap_or(path), b"/", name.to_bytes()].concat();
    stat.malformed.iter().for_each(|key| malformed_counter(&cgroup(), "memory.stat", key.as_bytes()));
    // A malformed usage has drifted below 0.
    let used = used.unwrap_or_else(|_| {
        malformed_value(&cgroup(), "memory.current");
        Bytes::ZERO
    });
    let unprotected = used - minimum;
    Ok(Some(stat.reclaimable() - unprotected))
}

/// A child of a cgroup.
struct Child<'a> {
    parent: &'a OwnedFd,
    path: &'a [u8],
    name: &'a std::ffi::CStr,
}

impl Child<'_> {
    /// Reads a file; `None` if the child, or the controller in it, is gone.
    fn read<T>(
        &self,
        file: &str,
        parse: impl FnOnce(&[u8]) -> Result<T, ParseError>,
    ) -> Result<Option<T>, Error> {
        let path = || format!("{}/{}/{file}", escaped(self.path), escaped(self.name.to_bytes()));
        let read = || {
            let directory = openat(self.parent, self.name, PATH_DIR, Mode::empty())?;
            read_with(openat(directory, file, READ, Mode::empty())?, parse)
        };
        match read() {
            Ok(parsed) => parsed.map(Some).map_err(|e| Error::malformed(path(), e)),
            // It is gone, or its owner has closed it to us, which harms nobody else.
            Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENODEV | libc::EACCES)) => {
                Ok(None)
            }
            Err(e) => Err(Error::unreadable(path(), e)),
        }
    }
}
