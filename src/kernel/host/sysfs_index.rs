//! The paths of entries by their inode numbers.

use super::sysfs::Sysfs;
use super::sysfs_entry::{Entry, SysfsIno, ino_of_path, join};
use cgprocfs_core::topology::{self, Link};
use parking_lot::Mutex;
use rustix::fs::FileType;
use rustix::io::Errno;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// The directories that are served.
pub(crate) const SERVED: [&[u8]; 2] = [b"cpu", b"node"];

/// How often the whole directory is walked at most, whatever numbers somebody asks for.
const WALK_INTERVAL: Duration = Duration::from_secs(1);
/// How deep the walk goes. Directories are not nested more deeply; the limit only makes sure that the walk
/// ends.
const MAX_DEPTH: usize = 8;

/// The paths of entries by their inode numbers, which nothing else gets while the entry exists, and which the
/// process after this one sees, too.
#[derive(Default)]
pub(crate) struct SysfsIndex {
    paths: Mutex<HashMap<SysfsIno, Vec<u8>>>,
    /// When the whole directory was walked last.
    walked: Mutex<Option<Instant>>,
    /// Held by the thread that walks.
    walking: Mutex<()>,
}

impl SysfsIndex {
    /// Adds an entry at a path.
    pub(crate) fn add(&self, ino: SysfsIno, path: &[u8]) {
        let mut paths = self.paths.lock();
        if paths.get(&ino).is_none_or(|known| known != path) {
            paths.insert(ino, path.to_vec());
        }
    }

    /// Whether it is known at which path the entry of this number is, or that there is none.
    pub(crate) fn knows(&self, ino: SysfsIno) -> bool {
        Link::of_number(ino.0).is_some() || self.paths.lock().contains_key(&ino) || self.was_walked()
    }

    /// Finds the entry of this number, if that is [known](Self::knows).
    ///
    /// # Errors
    /// ESTALE if it is not at its path any more.
    pub(crate) fn find(&self, ino: SysfsIno, sysfs: &Sysfs) -> Result<(Vec<u8>, Entry), Errno> {
        let path = Link::of_number(ino.0).map(Link::path).or_else(|| self.paths.lock().get(&ino).cloned());
        let path = path.ok_or(Errno::STALE)?;
        match sysfs.entry(&path) {
            Ok(entry) if entry.ino == ino => Ok((path, entry)),
            _ => {
                self.paths.lock().remove(&ino);
                Err(Errno::STALE)
            }
        }
    }

    /// Walks the whole directory, unless that was done just now.
    pub(crate) fn walk(&self, sysfs: &Sysfs) {
        let _walking = self.walking.lock();
        if self.was_walked() {
            return;
        }
        let mut paths = HashMap::new();
        SERVED.iter().for_each(|served| walk(sysfs, served, 0, &mut paths));
        fill_holes(sysfs, &mut paths);
        let mut known = self.paths.lock();
        let before = std::mem::replace(&mut *known, paths);
        // An entry that was added during the walk may not have existed when its directory was listed.
        let is_new =
            |(ino, path): &(SysfsIno, Vec<u8>)| sysfs.entry(path).is_ok_and(|entry| entry.ino == *ino);
        let unknown = before.into_iter().filter(|(ino, _)| !known.contains_key(ino));
        let new: Vec<_> = unknown.filter(is_new).collect();
        known.extend(new);
        *self.walked.lock() = Some(Instant::now());
    }

    fn was_walked(&self) -> bool {
        self.walked.lock().is_some_and(|walked| walked.elapsed() < WALK_INTERVAL)
    }
}

fn walk(sysfs: &Sysfs, path: &[u8], depth: usize, paths: &mut HashMap<SysfsIno, Vec<u8>>) {
    // A directory may be removed meanwhile.
    for (name, entry) in sysfs.list(path).unwrap_or_default() {
        let path = join(path, &name);
        if entry.kind == FileType::Directory && depth < MAX_DEPTH {
            walk(sysfs, &path, depth + 1, paths);
        }
        paths.insert(entry.ino, path);
    }
}

/// Adds what containers have at numbers of CPUs at which the kernel has nothing, or less than for other CPUs.
fn fill_holes(sysfs: &Sysfs, paths: &mut HashMap<SysfsIno, Vec<u8>>) {
    let online = sysfs.online();
    let others = [online.iter().next(), online.iter().next_back()];
    let there: HashSet<&[u8]> = paths.values().map(Vec::as_slice).collect();
    let of_all = there.iter().copied().filter_map(topology::of_processor);
    let of_others = of_all.filter(|(number, _)| others.contains(&Some(*number)));
    let rests: HashSet<&[u8]> = of_others.map(|(_, rest)| rest).collect();
    let numbers = (0..).take(online.len()).map(|number| format!("cpu/cpu{number}").into_bytes());
    let all = numbers.flat_map(|cpu| rests.iter().map(move |rest| [&cpu[..], rest].concat()));
    let holes: Vec<_> = all.filter(|path| !there.contains(path.as_slice())).collect();
    paths.extend(holes.into_iter().map(|path| (ino_of_path(&path), path)));
}
