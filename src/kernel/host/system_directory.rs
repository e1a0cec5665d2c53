//! `/sys/devices/system/cpu` and `node`, with all that is below them.
//!
//! What is at a path is alike for all readers, for the kernel keeps names and attributes for all alike: a container's
//! processors have numbers of their own, and what one of them has may be missing where the host's processor of that
//! number is, which is offline perhaps. So whatever any processor has, all have. What of it is listed and can be read
//! is the [`Topology`]'s to say.

use super::masked;
use crate::kernel::bare::Bare;
use crate::kernel::read::{PATH_DIR, READ};
use cgprocfs_core::parse::cpu_list::CpuList;
use cgprocfs_core::topology::{self, Link, Topology};
use parking_lot::Mutex;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, readlinkat, statat};
use rustix::io::Errno;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often all of it is gone through at most, whatever numbers somebody asks for, and any directory in it is
/// listed.
const PAUSE: Duration = Duration::from_secs(1);
/// So many directories' listings are remembered.
const MOST_LISTED: usize = 256;
/// Directories lie no deeper in each other. It only keeps a walk finite.
const DEPTH: usize = 8;
/// What is served of the kernel's directory.
const SERVED: [&[u8]; 2] = [b"cpu", b"node"];
/// Set in the numbers of what the kernel has nothing at: the rest is made from the path.
const OF_PATH: u64 = 1 << 61;

/// The directory that both are in. What is in them is known by the kernel's inode numbers, which nothing else gets while
/// it is there, and which the process after this one sees, too.
pub struct SystemDirectory {
    /// `None` where there is none.
    directory: Option<OwnedFd>,
    paths: Mutex<HashMap<u64, Vec<u8>>>,
    /// When all of it was gone through,
    walked: Mutex<Option<Instant>>,
    /// which one at a time does.
    walk: Mutex<()>,
    /// What was listed lately, by path.
    listed: Mutex<HashMap<Vec<u8>, Listed>>,
    online: Mutex<Option<(Instant, CpuList)>>,
}

type Listed = (Instant, Arc<Entries>);

/// What is in a directory, by name.
pub type Entries = Vec<(Vec<u8>, Entry)>;

/// Something in the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its number, for ever.
    pub ino: u64,
    /// A file, a directory or a symbolic link.
    pub kind: FileType,
    /// Its permissions.
    pub mode: u16,
}

impl SystemDirectory {
    pub(crate) fn open(sys: Option<&Bare>) -> Self {
        let directory = sys.and_then(|sys| sys.open("devices/system", PATH_DIR).ok());
        Self {
            directory,
            paths: Mutex::default(),
            walked: Mutex::default(),
            walk: Mutex::default(),
            listed: Mutex::default(),
            online: Mutex::default(),
        }
    }

    fn directory(&self) -> Result<&OwnedFd, Errno> {
        self.directory.as_ref().ok_or(Errno::NOENT)
    }

    /// What is at a path below `sys/devices/system`.
    ///
    /// # Errors
    /// The kernel's, ENOENT above all.
    pub fn entry(&self, path: &[u8]) -> Result<Entry, Errno> {
        let entry = self.look_at(path)?;
        let mut paths = self.paths.lock();
        if paths.get(&entry.ino).is_none_or(|known| known != path) {
            paths.insert(entry.ino, path.to_vec());
        }
        Ok(entry)
    }

    fn look_at(&self, path: &[u8]) -> Result<Entry, Errno> {
        if masked::is_masked(path) {
            return Err(Errno::NOENT);
        }
        if let Some(link) = Link::at(path) {
            let is_there = self.has_processor(link.cpu)
                && self.look_at_native(format!("node/node{}", link.node).as_bytes()).is_ok();
            return if is_there { Ok(entry_of(link)) } else { Err(Errno::NOENT) };
        }
        match (self.look_at_native(path), topology::of_processor(path)) {
            (Err(Errno::NOENT | Errno::NOTDIR), Some((number, rest))) if self.may_be_numbered(number) => {
                let entry = self.look_at_others(rest)?;
                Ok(Entry { ino: number_of_path(path), ..entry })
            }
            (found, _) => found,
        }
    }

    fn look_at_native(&self, path: &[u8]) -> Result<Entry, Errno> {
        let found = statat(self.directory()?, to_path(path), AtFlags::SYMLINK_NOFOLLOW)?;
        let mode = u16::try_from(found.st_mode & 0o7777).unwrap_or(0);
        Ok(Entry { ino: found.st_ino, kind: FileType::from_raw_mode(found.st_mode), mode })
    }

    /// What the first processor has at a path, or the last one: the boot processor lacks what others have, and where there
    /// are two kinds they have different numbers.
    fn look_at_others(&self, rest: &[u8]) -> Result<Entry, Errno> {
        let online = self.online();
        let (first, last) = (online.iter().next(), online.iter().next_back());
        let of = |number: u32| self.look_at_native(&[format!("cpu/cpu{number}").as_bytes(), rest].concat());
        first.map_or(Err(Errno::NOENT), of).or_else(|_| last.map_or(Err(Errno::NOENT), of))
    }

    fn has_processor(&self, number: u32) -> bool {
        self.may_be_numbered(number) || self.look_at_native(format!("cpu/cpu{number}").as_bytes()).is_ok()
    }

    /// Whether a container can have a processor of that number.
    fn may_be_numbered(&self, number: u32) -> bool {
        usize::try_from(number).is_ok_and(|number| number < self.online().len())
    }

    /// The host's processors that are online, or were a moment ago.
    fn online(&self) -> CpuList {
        let mut online = self.online.lock();
        match &*online {
            Some((at, list)) if at.elapsed() < PAUSE => list.clone(),
            _ => {
                let list = self.text(b"cpu/online").ok().and_then(|text| CpuList::parse(&text).ok());
                let list = list.unwrap_or_default();
                *online = Some((Instant::now(), list.clone()));
                list
            }
        }
    }

    /// Whether it is known where the entry of this number is, or that there is none: a predecessor's numbers have to be
    /// [learnt](Self::learn).
    #[must_use]
    pub fn knows(&self, ino: u64) -> bool {
        Link::of_number(ino).is_some() || self.paths.lock().contains_key(&ino) || self.was_walked()
    }

    /// Goes through all of the directory, unless that was done just now. It takes long where there are many processors, and is
    /// not for a thread that others wait for.
    pub fn learn(&self) {
        let _one_at_a_time = self.walk.lock();
        if self.was_walked() {
            return;
        }
        let mut paths = HashMap::new();
        SERVED.iter().for_each(|served| self.walk(served, 0, &mut paths));
        self.fill_holes(&mut paths);
        let mut known = self.paths.lock();
        let before = std::mem::replace(&mut *known, paths);
        // What was found meanwhile may not have been there yet.
        let is_new = |(ino, path): &(u64, Vec<u8>)| self.look_at(path).is_ok_and(|entry| entry.ino == *ino);
        let unknown = before.into_iter().filter(|(ino, _)| !known.contains_key(ino));
        let new: Vec<_> = unknown.filter(is_new).collect();
        known.extend(new);
        *self.walked.lock() = Some(Instant::now());
    }

    fn was_walked(&self) -> bool {
        self.walked.lock().is_some_and(|walked| walked.elapsed() < PAUSE)
    }

    fn walk(&self, path: &[u8], depth: usize, paths: &mut HashMap<u64, Vec<u8>>) {
        // What goes meanwhile is not there.
        for (name, entry) in self.list_now(path).unwrap_or_default() {
            let path = join(path, &name);
            if entry.kind == FileType::Directory && depth < DEPTH {
                self.walk(&path, depth + 1, paths);
            }
            paths.insert(entry.ino, path);
        }
    }

    /// Adds what containers have at numbers of processors where the kernel has nothing, or less than elsewhere.
    fn fill_holes(&self, paths: &mut HashMap<u64, Vec<u8>>) {
        let online = self.online();
        let others = [online.iter().next(), online.iter().next_back()];
        let there: HashSet<&[u8]> = paths.values().map(Vec::as_slice).collect();
        let of_all = there.iter().copied().filter_map(topology::of_processor);
        let of_others = of_all.filter(|(number, _)| others.contains(&Some(*number)));
        let rests: HashSet<&[u8]> = of_others.map(|(_, rest)| rest).collect();
        let numbers = (0..).take(online.len()).map(|number| format!("cpu/cpu{number}").into_bytes());
        let all = numbers.flat_map(|cpu| rests.iter().map(move |rest| [&cpu[..], rest].concat()));
        let holes: Vec<_> = all.filter(|path| !there.contains(path.as_slice())).collect();
        paths.extend(holes.into_iter().map(|path| (number_of_path(&path), path)));
    }

    /// Where the entry of this number is, if that is [known](Self::knows).
    ///
    /// # Errors
    /// ESTALE where it is not there any more, as with a processor that was taken away.
    pub fn find(&self, ino: u64) -> Result<(Vec<u8>, Entry), Errno> {
        let path = Link::of_number(ino).map(Link::path).or_else(|| self.paths.lock().get(&ino).cloned());
        let path = path.ok_or(Errno::STALE)?;
        match self.look_at(&path) {
            Ok(entry) if entry.ino == ino => Ok((path, entry)),
            _ => {
                self.paths.lock().remove(&ino);
                Err(Errno::STALE)
            }
        }
    }

    /// What a container finds in the directory at `path`; with `None` what the host has there.
    ///
    /// # Errors
    /// The kernel's, ENOENT where the directory is of a processor or a node that the container has not.
    pub fn list(&self, path: &[u8], topology: Option<&Topology>) -> Result<Entries, Errno> {
        let Some(topology) = topology else { return Ok(self.list_native(path)?.to_vec()) };
        let native = topology.native_path(path).ok_or(Errno::NOENT)?;
        let entries = self.list_native(&native)?;
        let is_its = |(name, _): &&(Vec<u8>, Entry)| topology.has_as_is(path, name);
        let mut own: Entries = entries.iter().filter(is_its).cloned().collect();
        if native != path {
            // What is there for all has the number that it has at this place.
            let at_path = self.list_native(path).unwrap_or_default();
            let known: HashMap<&[u8], u64> =
                at_path.iter().map(|(name, entry)| (&**name, entry.ino)).collect();
            for (name, entry) in &mut own {
                let known = known.get(name.as_slice()).copied();
                entry.ino = known.unwrap_or_else(|| number_of_path(&join(path, name)));
            }
        }
        own.extend(topology.links(path).into_iter().map(|link| (link.name(), entry_of(link))));
        if path == b"cpu" {
            let known: HashMap<&[u8], Entry> =
                entries.iter().map(|(name, entry)| (&**name, *entry)).collect();
            for number in 0..topology.count() {
                let name = format!("cpu{number}").into_bytes();
                let entry =
                    known.get(name.as_slice()).copied().map_or_else(|| self.look_at(&join(path, &name)), Ok);
                // What goes meanwhile is not there.
                own.extend(entry.map(|entry| (name, entry)));
            }
        }
        Ok(own)
    }

    /// What the kernel has in a directory, or had a moment ago.
    fn list_native(&self, path: &[u8]) -> Result<Arc<Entries>, Errno> {
        if let Some((at, entries)) = self.listed.lock().get(path)
            && at.elapsed() < PAUSE
        {
            return Ok(Arc::clone(entries));
        }
        let entries = Arc::new(self.list_now(path)?);
        let mut listed = self.listed.lock();
        if listed.len() >= MOST_LISTED {
            listed.clear();
        }
        listed.insert(path.to_vec(), (Instant::now(), Arc::clone(&entries)));
        Ok(entries)
    }

    fn list_now(&self, path: &[u8]) -> Result<Entries, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let opened = openat(self.directory()?, to_path(path), flags, Mode::empty())?;
        let names =
            Dir::new(opened)?.filter_map(Result::ok).map(|entry| entry.file_name().to_bytes().to_vec());
        let names = names.filter(|name| name != b"." && name != b"..");
        // What goes meanwhile is not there.
        Ok(names.filter_map(|name| Some((name.clone(), self.look_at(&join(path, &name)).ok()?))).collect())
    }

    /// Where the symbolic link at `path` leads for a container, or for the host.
    ///
    /// # Errors
    /// The kernel's, ENOENT where the container has none there.
    pub fn target(&self, path: &[u8], topology: Option<&Topology>) -> Result<Vec<u8>, Errno> {
        let native = match (topology, Link::at(path)) {
            (Some(topology), Some(link)) => {
                return if topology.has(link) { Ok(link.target()) } else { Err(Errno::NOENT) };
            }
            (Some(topology), None) => topology.native_path(path).ok_or(Errno::NOENT)?,
            (None, _) => path.to_vec(),
        };
        Ok(readlinkat(self.directory()?, to_path(&native), Vec::new())?.into_bytes())
    }

    /// The kernel's text of a file.
    ///
    /// # Errors
    /// The kernel's. Some of these files are root's, some fail now and then.
    pub fn text(&self, path: &[u8]) -> Result<Vec<u8>, Errno> {
        let opened = openat(self.directory()?, to_path(path), READ, Mode::empty())?;
        crate::failpoint::slow_file();
        let mut text = Vec::new();
        match File::from(opened).read_to_end(&mut text) {
            Ok(_) => Ok(text),
            Err(error) => Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
        }
    }
}

fn entry_of(link: Link) -> Entry {
    Entry { ino: link.number(), kind: FileType::Symlink, mode: 0o777 }
}

/// A number for what the kernel has no number for, which every process makes alike (FNV-1a).
fn number_of_path(path: &[u8]) -> u64 {
    let hash = path.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    // Numbers of links have the next lower bit.
    OF_PATH | hash & (OF_PATH / 2 - 1)
}

/// A path below a directory, from a path and a name.
pub fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() }
}

fn to_path(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(if path.is_empty() { b"." } else { path }))
}

#[cfg(test)]
mod tests;
