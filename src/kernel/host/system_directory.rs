//! `/sys/devices/system/cpu` and `node`, with all that is below them, as a container sees them.
//!
//! The entry at a path is the same for all readers, because the kernel caches names and attributes for all
//! alike. But a container numbers its CPUs anew, and the host's CPU of such a number may lack what the
//! container's has, perhaps because it is offline. So whatever any CPU has, all have. Which entries a
//! container can list and read is for the [`Topology`] to say.

use super::sysfs::Sysfs;
use super::sysfs_entry::{Entries, Entry, SysfsIno, ino_of_path, join};
use super::sysfs_index::SysfsIndex;
use super::ttl_cell::DEFAULT_MAX_AGE;
use super::ttl_map::TtlMap;
use crate::kernel::kernel_dir::KernelDir;
use cgprocfs_core::topology::{Link, Topology};
use rustix::io::Errno;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// How long a listing of a directory is used.
const LISTING_MAX_AGE: Duration = Duration::from_secs(1);

/// The directory that has both.
pub struct SystemDirectory {
    sysfs: Sysfs,
    index: SysfsIndex,
    /// Listings of the kernel's directories.
    listings: TtlMap<Arc<Entries>>,
    /// Texts of the kernel's files.
    texts: TtlMap<Arc<[u8]>>,
}

impl SystemDirectory {
    pub(crate) fn open(sys: Option<&KernelDir>) -> Self {
        let (listings, texts) = (TtlMap::new(LISTING_MAX_AGE), TtlMap::new(DEFAULT_MAX_AGE));
        Self { sysfs: Sysfs::open(sys), index: SysfsIndex::default(), listings, texts }
    }

    /// The entry at a path below `sys/devices/system`.
    ///
    /// # Errors
    /// The error that the kernel returns, above all ENOENT.
    pub fn entry(&self, path: &[u8]) -> Result<Entry, Errno> {
        let entry = self.sysfs.entry(path)?;
        self.index.add(entry.ino, path);
        Ok(entry)
    }

    /// Whether it is known at which path the entry of this inode number is, or that there is none. Numbers
    /// that a predecessor of this process gave out have to be [indexed](Self::index_all) first.
    #[must_use]
    pub fn knows(&self, ino: SysfsIno) -> bool {
        self.index.knows(ino)
    }

    /// Indexes the whole directory, unless that was done just now. It takes long on a host with many CPUs,
    /// and is not for a thread that others wait for.
    pub fn index_all(&self) {
        self.index.walk(&self.sysfs);
    }

    /// Finds the entry of this inode number and its path, if the number is [known](Self::knows).
    ///
    /// # Errors
    /// ESTALE if it does not exist any more, as with a CPU that was removed.
    pub fn find(&self, ino: SysfsIno) -> Result<(Vec<u8>, Entry), Errno> {
        self.index.find(ino, &self.sysfs)
    }

    /// The entries that a container has in the directory at `path`; without a topology those of the host.
    ///
    /// # Errors
    /// The error that the kernel returns, and ENOENT if the directory is of a CPU or a node that the
    /// container does not have.
    pub fn list(&self, path: &[u8], topology: Option<&Topology>) -> Result<Entries, Errno> {
        let Some(topology) = topology else { return Ok(self.listing(path)?.to_vec()) };
        let native = topology.native_path(path).ok_or(Errno::NOENT)?;
        let entries = self.listing(&native)?;
        let is_its = |(name, _): &&(Vec<u8>, Entry)| topology.has_as_is(path, name);
        let mut own: Entries = entries.iter().filter(is_its).cloned().collect();
        if native != path {
            // The number of an entry is that of the path at which the container has it.
            let at_path = self.listing(path).unwrap_or_default();
            let known: HashMap<&[u8], SysfsIno> =
                at_path.iter().map(|(name, entry)| (&**name, entry.ino)).collect();
            for (name, entry) in &mut own {
                let known = known.get(name.as_slice()).copied();
                entry.ino = known.unwrap_or_else(|| ino_of_path(&join(path, name)));
            }
        }
        own.extend(topology.links(path).into_iter().map(|link| (link.name(), Entry::of_link(link))));
        if path == b"cpu" {
            own.extend(self.cpus(topology, &entries));
        }
        Ok(own)
    }

    /// The directories of a container's CPUs, where `entries` are those of the host.
    fn cpus(&self, topology: &Topology, entries: &Entries) -> Entries {
        let known: HashMap<&[u8], Entry> = entries.iter().map(|(name, entry)| (&**name, *entry)).collect();
        let names = (0..topology.count()).map(|number| format!("cpu{number}").into_bytes());
        let with_entry = names.filter_map(|name| {
            let known = known.get(name.as_slice()).copied();
            // A CPU may be removed meanwhile.
            let entry = known.map_or_else(|| self.sysfs.entry(&join(b"cpu", &name)), Ok).ok()?;
            Some((name, entry))
        });
        with_entry.collect()
    }

    /// The entries of the kernel's directory at a path, as they are or were a moment ago.
    fn listing(&self, path: &[u8]) -> Result<Arc<Entries>, Errno> {
        self.listings.get(path, || self.sysfs.list(path).map(Arc::new))
    }

    /// Frees what is too old to be used.
    pub(crate) fn sweep(&self) {
        self.listings.sweep();
        self.texts.sweep();
    }

    /// Where the symbolic link at `path` leads for a container; without a topology, for the host.
    ///
    /// # Errors
    /// The error that the kernel returns, and ENOENT if the container has no such link.
    pub fn target(&self, path: &[u8], topology: Option<&Topology>) -> Result<Vec<u8>, Errno> {
        let native = match (topology, Link::at(path)) {
            (Some(topology), Some(link)) => {
                return if topology.has(link) { Ok(link.target()) } else { Err(Errno::NOENT) };
            }
            (Some(topology), None) => topology.native_path(path).ok_or(Errno::NOENT)?,
            (None, _) => path.to_vec(),
        };
        self.sysfs.link_target(&native)
    }

    /// The text of the kernel's file at a path, as it is or was a moment ago.
    ///
    /// # Errors
    /// The error that the kernel returns. Some of these files only root may read, some fail now and then.
    pub fn text(&self, path: &[u8]) -> Result<Arc<[u8]>, Errno> {
        self.texts.get(path, || self.sysfs.text(path).map(Into::into))
    }
}

#[cfg(test)]
mod tests;
