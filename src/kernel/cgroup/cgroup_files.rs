//! The open files of one cgroup. Reading them by `pread` costs a tenth of opening them anew.

use super::id::CgroupId;
use super::location::CgroupLocation;
use super::memory_files::{MemoryFiles, SwapFiles, open_file};
use super::mounts::Hierarchy;
use super::protection::Protected;
use crate::error::{Error, escaped};
use crate::kernel::read::read_with;
use crate::rate_limited_log::{malformed_counter, malformed_value};
use cgprocfs_core::parse::CgroupVersion;
use cgprocfs_core::parse::ParseError;
use cgprocfs_core::parse::counter::{limit, number, usage};
use cgprocfs_core::parse::memory_files::MemoryFileNames;
use cgprocfs_core::parse::memory_stat::MemoryStat;
use cgprocfs_core::snapshot::{Level, Swap};
use cgprocfs_core::units::Bytes;
use rustix::fs::{Access, AtFlags, accessat, fstat};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};

/// The open files of a cgroup.
pub(crate) struct CgroupFiles {
    path: Vec<u8>,
    version: CgroupVersion,
    dir: OwnedFd,
    id: CgroupId,
    protected: Protected,
    /// `None`: the controller is not enabled in this cgroup, its numbers are within its parent's.
    memory: Option<MemoryFiles>,
}

impl CgroupFiles {
    /// How many files of one cgroup are open where there is no swap: its directory, and three of
    /// [`MemoryFiles`].
    pub(crate) const USUALLY_OPEN: usize = 4;

    /// Opens the files of the cgroup at `location`.
    pub(crate) fn open(hierarchy: &Hierarchy, location: CgroupLocation<'_>) -> Result<Self, Error> {
        let path = location.cgroup;
        let dir = location.open_dir()?;
        let id = CgroupId::new(fstat(&dir).map_err(|e| Error::unreadable(escaped(path), e))?.st_ino);
        let is_root = path == b"/" && hierarchy.is_hierarchy_root;
        let memory = MemoryFiles::open(hierarchy.version, is_root, &dir, path)?;
        let files = Self {
            path: path.to_vec(),
            version: hierarchy.version,
            dir,
            id,
            protected: Protected::default(),
            memory,
        };
        // The files of a cgroup that is being removed go before its directory does: their absence would mean
        // nothing.
        files.verify_name(location)?;
        Ok(files)
    }

    /// Whether the memory controller is enabled in this cgroup.
    pub(crate) fn has_controller(&self) -> bool {
        self.memory.is_some()
    }

    /// Checks that the controller has not been enabled since the files were opened, which nothing else would
    /// show.
    pub(crate) fn verify_controller(&self) -> Result<(), Error> {
        if self.memory.is_none() && self.has_file_of_controller() {
            return Err(Error::CgroupGone(escaped(&self.path)));
        }
        Ok(())
    }

    /// Whether the controller has any file here. The kernel makes and removes them together; in a copied tree
    /// one may be missing, and the level's numbers are still not those of the level above.
    fn has_file_of_controller(&self) -> bool {
        let names = MemoryFileNames::of(self.version);
        let exists = |name| accessat(&self.dir, name, Access::EXISTS, AtFlags::empty()).is_ok();
        exists(names.usage) || exists(names.limit)
    }

    /// Whether opening it again at the same location would give the same.
    pub(crate) fn is_current(&self, hierarchy: &Hierarchy, location: CgroupLocation<'_>) -> bool {
        let is_host = self.path == b"/" && hierarchy.is_hierarchy_root;
        self.verify_name(location).is_ok()
            && (is_host || self.memory.is_some() == self.has_file_of_controller())
    }

    /// Checks that the path still leads to this cgroup. A cgroup may be removed and another made in its
    /// place, and cgroup v1 allows renaming; the id is the cgroup's own and is never used again.
    pub(crate) fn verify_name(&self, location: CgroupLocation<'_>) -> Result<(), Error> {
        match location.status() {
            Ok(now) if now.st_ino == self.id.get() => Ok(()),
            _ => Err(Error::CgroupGone(escaped(&self.path))),
        }
    }

    /// Reads the memory limit; `None` if there is none.
    pub(crate) fn limit(&self) -> Result<Option<Bytes>, Error> {
        match self.memory.as_ref().and_then(|memory| memory.limit.as_ref()) {
            Some(file) => self.read(file, MemoryFileNames::of(self.version).limit, limit),
            None => Ok(None),
        }
    }

    /// Reads how much memory is charged to the cgroup; `None` if it has no such file.
    pub(crate) fn usage(&self) -> Result<Option<Bytes>, Error> {
        match self.memory.as_ref().and_then(|memory| memory.usage.as_ref()) {
            Some(file) => self.read(file, MemoryFileNames::of(self.version).usage, usage).map(Some),
            None => Ok(None),
        }
    }

    /// Reads [`usage`](Self::usage) to find out what is left below `limit`. If the file is malformed nothing
    /// is left, as with [swap](Swap::of): one counter must not deny all containers below it their own
    /// numbers.
    pub(crate) fn usage_below(&self, limit: Option<Bytes>) -> Result<Option<Bytes>, Error> {
        match self.usage() {
            Err(Error::Malformed { .. }) => {
                malformed_value(&self.path, MemoryFileNames::of(self.version).usage);
                Ok(limit)
            }
            usage => usage,
        }
    }

    /// Reads the memory statistics; `None` without the controller.
    pub(crate) fn statistics(&self) -> Result<Option<MemoryStat>, Error> {
        self.memory.as_ref().map(|memory| self.stat(memory, None)).transpose()
    }

    /// Reads statistics, then usage, into `level`, and the text of the statistics into `raw_stat`. The order
    /// is that of Kubernetes' programs: page cache that grows meanwhile makes the working set larger, not
    /// smaller.
    pub(crate) fn fill_usage(&self, level: &mut Level, raw_stat: Option<&mut Vec<u8>>) -> Result<(), Error> {
        let Some(memory) = &self.memory else { return Ok(()) };
        level.stat = Some(self.stat(memory, raw_stat)?);
        level.usage = self.usage()?;
        Ok(())
    }

    /// Reads how much of the children's page cache `memory.min` keeps from this cgroup's reclaim, except in
    /// the child of the name `readers_child`. cgroup v1 has no such protection.
    ///
    /// # Errors
    /// [`Error::TakesLong`] if there are many children, unless the caller `may_take_long`.
    pub(crate) fn protected(&self, readers_child: &[u8], may_take_long: bool) -> Result<Bytes, Error> {
        match self.version {
            CgroupVersion::V1 => Ok(Bytes::ZERO),
            CgroupVersion::V2 => self.protected.bytes(&self.dir, &self.path, readers_child, may_take_long),
        }
    }

    /// The cgroup's id.
    pub(crate) fn id(&self) -> CgroupId {
        self.id
    }

    fn stat(&self, memory: &MemoryFiles, raw: Option<&mut Vec<u8>>) -> Result<MemoryStat, Error> {
        let stat = self.read(&memory.stat, "memory.stat", |text| {
            if let Some(raw) = raw {
                raw.clear();
                raw.extend_from_slice(text);
            }
            MemoryStat::parse(self.version, text)
        })?;
        for key in &stat.malformed {
            malformed_counter(&self.path, "memory.stat", key.as_bytes());
        }
        Ok(stat)
    }

    /// Reads `memory.swappiness`; `None` if there is no such file, as on cgroup v2.
    pub(crate) fn swappiness(&self) -> Result<Option<u64>, Error> {
        const NAME: &str = "memory.swappiness";
        // Only that of the reader's own cgroup counts: it is not worth an open file for every level.
        let Some(file) = open_file(&self.dir, NAME, &self.path)? else { return Ok(None) };
        let swappiness = self.read(file, NAME, |text| Ok(number(text).ok()))?;
        if swappiness.is_none() {
            malformed_value(&self.path, NAME);
        }
        Ok(swappiness)
    }

    /// Reads limit and usage of swap. Nothing but swap depends on them, so a malformed file is logged and is
    /// no error.
    pub(crate) fn swap(&self) -> Result<Swap, Error> {
        let Some(memory) = &self.memory else { return Ok(Swap::Unaccounted) };
        let names = MemoryFileNames::of(self.version).swap;
        let files = match memory.swap.get() {
            Some(files) => files,
            None => {
                let opened = self.open_swap(names)?;
                memory.swap.get_or_init(|| opened)
            }
        };
        let Some(files) = files else { return Ok(Swap::Unaccounted) };
        let limit = self.read(&files.limit, names[0], |text| Ok(limit(text)))?;
        let usage = match (&files.usage, self.version) {
            (Some(file), _) => self.read(file, names[1], |text| Ok(usage(text)))?,
            (None, CgroupVersion::V2) => return Err(self.missing(names[1])),
            (None, CgroupVersion::V1) if limit == Ok(None) => Ok(Bytes::ZERO),
            (None, CgroupVersion::V1) => Ok(self.memory_and_swap(memory, limit.ok().flatten())?),
        };
        for (name, is_malformed) in [(names[0], limit.is_err()), (names[1], usage.is_err())] {
            if is_malformed {
                malformed_value(&self.path, name);
            }
        }
        Ok(Swap::of(self.version, limit.ok(), usage.ok()))
    }

    fn memory_and_swap(&self, memory: &MemoryFiles, limit: Option<Bytes>) -> Result<Bytes, Error> {
        let swapped = self.stat(memory, None)?.swap.unwrap_or_default();
        Ok(self.usage_below(limit)?.unwrap_or_default() + swapped)
    }

    fn open_swap(&self, names: [&str; 2]) -> Result<Option<SwapFiles>, Error> {
        let open = |name| open_file(&self.dir, name, &self.path);
        match (open(names[0])?, open(names[1])?) {
            (Some(limit), usage) => Ok(Some(SwapFiles { limit, usage })),
            (None, Some(_)) => Err(self.missing(names[0])),
            (None, None) => Ok(None),
        }
    }

    /// The error for a missing file that every kernel has if it has the other of the pair.
    fn missing(&self, name: &str) -> Error {
        Error::unreadable(format!("{}/{name}", escaped(&self.path)), Errno::NOENT)
    }

    fn read<T>(
        &self,
        file: impl AsFd,
        name: &str,
        parse: impl FnOnce(&[u8]) -> Result<T, ParseError>,
    ) -> Result<T, Error> {
        let path = || format!("{}/{name}", escaped(&self.path));
        let parsed = read_with(file, parse).map_err(|e| Error::unreadable(path(), e))?;
        parsed.map_err(|e| Error::malformed(path(), e))
    }
}
