//! The open files of one cgroup. They are read by `pread`, which costs a tenth of opening anew.

use super::memory_files::{MemoryFiles, SwapFiles, names, open_file};
use super::mounts::Hierarchy;
use super::paths::Place;
use super::protection::Protected;
use crate::error::{Error, escaped};
use crate::kernel::procfs::{PATH_DIR, read_whole};
use crate::rate_limited_log::{odd_counter, odd_value};
use cgprocfs_core::parse::CgroupVersion;
use cgprocfs_core::parse::ParseError;
use cgprocfs_core::parse::counter::{limit, number, usage};
use cgprocfs_core::parse::memory_stat::{MemoryStat, memory_stat};
use cgprocfs_core::snapshot::{Level, Swap};
use cgprocfs_core::units::Bytes;
use rustix::fs::{Access, AtFlags, Mode, accessat, fstat, openat};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};

/// A cgroup on the path to a container.
pub(crate) struct CgroupFiles {
    path: Vec<u8>,
    version: CgroupVersion,
    dir: OwnedFd,
    inode: u64,
    protected: Protected,
    /// `None`: the controller is not enabled in this cgroup, its numbers are within its parent's.
    memory: Option<MemoryFiles>,
}

impl CgroupFiles {
    /// How many files of a cgroup are open at most: its directory, and the five of [`MemoryFiles`].
    pub(crate) const MOST: usize = 6;

    /// Opens the files of the cgroup at `path`, which `place` is a way to.
    pub(crate) fn open(hierarchy: &Hierarchy, path: &[u8], place: Place<'_>) -> Result<Self, Error> {
        let dir = openat(place.0, place.1, PATH_DIR, Mode::empty()).map_err(|e| Error::of_cgroup(path, e))?;
        let inode = fstat(&dir).map_err(|e| Error::unreadable(escaped(path), e))?.st_ino;
        let is_root = path == b"/" && hierarchy.is_hierarchy_root;
        let memory = MemoryFiles::open(hierarchy.version, is_root, &dir, path)?;
        let files = Self {
            path: path.to_vec(),
            version: hierarchy.version,
            dir,
            inode,
            protected: Protected::default(),
            memory,
        };
        // The files of a cgroup that is being removed go before it does: then none of them means nothing.
        files.verify_name(place)?;
        Ok(files)
    }

    /// Whether the memory controller is enabled in this cgroup.
    pub(crate) fn has_controller(&self) -> bool {
        self.memory.is_some()
    }

    /// Checks that the controller was not enabled since, which nothing else would show.
    pub(crate) fn verify_controller(&self) -> Result<(), Error> {
        if self.memory.is_none() && self.has_file_of_controller() {
            return Err(Error::CgroupGone(escaped(&self.path)));
        }
        Ok(())
    }

    /// The kernel makes and removes its files together. Where a tree of files has one of them and lacks the other, its numbers
    /// are not those of the level above.
    fn has_file_of_controller(&self) -> bool {
        let names = names(self.version);
        let exists = |name| accessat(&self.dir, name, Access::EXISTS, AtFlags::empty()).is_ok();
        exists(names.usage) || exists(names.limit)
    }

    /// Whether opening it again by the same way would give the same.
    pub(crate) fn is_current(&self, hierarchy: &Hierarchy, place: Place<'_>) -> bool {
        let is_host = self.path == b"/" && hierarchy.is_hierarchy_root;
        self.verify_name(place).is_ok() && (is_host || self.memory.is_some() == self.has_file_of_controller())
    }

    /// Checks that the path still leads here. A cgroup may be removed and another made in its place, and v1
    /// lets a cgroup be renamed; the inode number is the cgroup's own and never used again.
    pub(crate) fn verify_name(&self, place: Place<'_>) -> Result<(), Error> {
        match rustix::fs::statat(place.0, place.1, AtFlags::empty()) {
            Ok(now) if now.st_ino == self.inode => Ok(()),
            _ => Err(Error::CgroupGone(escaped(&self.path))),
        }
    }

    /// Reads the limit; `None` without one.
    pub(crate) fn limit(&self, buffer: &mut Vec<u8>) -> Result<Option<Bytes>, Error> {
        match self.memory.as_ref().and_then(|memory| memory.limit.as_ref()) {
            Some(file) => self.read(file, names(self.version).limit, buffer, limit),
            None => Ok(None),
        }
    }

    /// Reads how much is charged to it; `None` where it has no such file.
    pub(crate) fn charged(&self, buffer: &mut Vec<u8>) -> Result<Option<Bytes>, Error> {
        match self.memory.as_ref().and_then(|memory| memory.usage.as_ref()) {
            Some(file) => self.read(file, names(self.version).usage, buffer, usage).map(Some),
            None => Ok(None),
        }
    }

    /// Likewise where no more is asked than what is left below a limit. Of a usage that makes no sense that is nothing, as
    /// with [swap](Swap::of): one counter is not to deny all containers below it their own numbers.
    pub(crate) fn charged_below(
        &self,
        limit: Option<Bytes>,
        buffer: &mut Vec<u8>,
    ) -> Result<Option<Bytes>, Error> {
        match self.charged(buffer) {
            Err(Error::Malformed { .. }) => {
                odd_value(&self.path, names(self.version).usage);
                Ok(limit)
            }
            charged => charged,
        }
    }

    /// Reads the statistics of such a level,
    pub(crate) fn statistics(&self, buffer: &mut Vec<u8>) -> Result<Option<MemoryStat>, Error> {
        self.memory.as_ref().map(|memory| self.stat(memory, buffer)).transpose()
    }

    /// and statistics, then usage, into one that is shown: in that order as Kubernetes' programs do, so that page
    /// cache that grows meanwhile makes the working set larger, not smaller.
    pub(crate) fn usage(&self, level: &mut Level, buffer: &mut Vec<u8>) -> Result<(), Error> {
        self.usage_and_text(level, None, buffer)
    }

    /// Likewise, and the statistics' text as it was read.
    pub(crate) fn usage_and_text(
        &self,
        level: &mut Level,
        text: Option<&mut Vec<u8>>,
        buffer: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let Some(memory) = &self.memory else { return Ok(()) };
        level.stat = Some(self.stat(memory, buffer)?);
        if let Some(text) = text {
            text.clone_from(buffer);
        }
        level.usage = self.charged(buffer)?;
        Ok(())
    }

    /// Reads how much of the children's caches `memory.min` keeps from this cgroup's reclaim, the child
    /// `reader` excepted. cgroup v1 has no such protection.
    ///
    /// # Errors
    /// [`Error::TakesLong`] where there are many children, unless whoever waits `may_take_long`.
    pub(crate) fn protected(
        &self,
        reader: &[u8],
        may_take_long: bool,
        buffer: &mut Vec<u8>,
    ) -> Result<Bytes, Error> {
        match self.version {
            CgroupVersion::V1 => Ok(Bytes::ZERO),
            CgroupVersion::V2 => self.protected.bytes(&self.dir, &self.path, reader, may_take_long, buffer),
        }
    }

    /// The kernel's number for it, never used again.
    pub(crate) fn inode(&self) -> u64 {
        self.inode
    }

    fn stat(&self, memory: &MemoryFiles, buffer: &mut Vec<u8>) -> Result<MemoryStat, Error> {
        let stat = self.read(&memory.stat, "memory.stat", buffer, |text| memory_stat(self.version, text))?;
        for key in &stat.odd {
            odd_counter(&self.path, "memory.stat", key.as_bytes());
        }
        Ok(stat)
    }

    /// How readily its memory is swapped; `None` where it has no such file, as on v2.
    pub(crate) fn swappiness(&self, buffer: &mut Vec<u8>) -> Result<Option<u64>, Error> {
        const NAME: &str = "memory.swappiness";
        // It is the reader's own cgroup's that counts: not worth an open file for every level.
        let Some(file) = open_file(&self.dir, NAME, &self.path)? else { return Ok(None) };
        self.read(file, NAME, buffer, |text| Ok(number(text).ok()))
    }

    /// Reads the limits on swap. Nothing but swap depends on them: what makes no sense there is no error.
    pub(crate) fn swap(&self, buffer: &mut Vec<u8>) -> Result<Swap, Error> {
        let Some(memory) = &self.memory else { return Ok(Swap::Unaccounted) };
        let names = names(self.version).swap;
        let files = match memory.swap.get() {
            Some(files) => files,
            None => {
                let opened = self.open_swap(names)?;
                memory.swap.get_or_init(|| opened)
            }
        };
        let Some(files) = files else { return Ok(Swap::Unaccounted) };
        let limit = self.read(&files.limit, names[0], buffer, |text| Ok(limit(text)))?;
        let usage = match (&files.usage, self.version) {
            (Some(file), _) => self.read(file, names[1], buffer, |text| Ok(usage(text)))?,
            (None, CgroupVersion::V2) => return Err(self.lacks(names[1])),
            (None, CgroupVersion::V1) if limit == Ok(None) => Ok(Bytes::ZERO),
            (None, CgroupVersion::V1) => Ok(self.memory_and_swap(memory, limit.ok().flatten(), buffer)?),
        };
        for (name, is_odd) in [(names[0], limit.is_err()), (names[1], usage.is_err())] {
            if is_odd {
                odd_value(&self.path, name);
            }
        }
        Ok(Swap::of(self.version, limit.ok(), usage.ok()))
    }

    fn memory_and_swap(
        &self,
        memory: &MemoryFiles,
        limit: Option<Bytes>,
        buffer: &mut Vec<u8>,
    ) -> Result<Bytes, Error> {
        let swapped = self.stat(memory, buffer)?.swap.unwrap_or_default();
        Ok(self.charged_below(limit, buffer)?.unwrap_or_default() + swapped)
    }

    fn open_swap(&self, names: [&str; 2]) -> Result<Option<SwapFiles>, Error> {
        let open = |name| open_file(&self.dir, name, &self.path);
        match (open(names[0])?, open(names[1])?) {
            (Some(limit), usage) => Ok(Some(SwapFiles { limit, usage })),
            (None, Some(_)) => Err(self.lacks(names[0])),
            (None, None) => Ok(None),
        }
    }

    /// Every kernel has the one that has the other.
    fn lacks(&self, name: &str) -> Error {
        Error::unreadable(format!("{}/{name}", escaped(&self.path)), Errno::NOENT)
    }

    fn read<T>(
        &self,
        file: impl AsFd,
        name: &str,
        buffer: &mut Vec<u8>,
        parse: impl FnOnce(&[u8]) -> Result<T, ParseError>,
    ) -> Result<T, Error> {
        let path = || format!("{}/{name}", escaped(&self.path));
        read_whole(file, buffer).map_err(|e| Error::unreadable(path(), e))?;
        parse(buffer).map_err(|e| Error::malformed(path(), e))
    }
}
