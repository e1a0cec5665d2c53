//! `/sys/devices/system/cpu`, with all that is below it.

use super::host::open_bare;
use super::procfs::{PATH_DIR, READ};
use crate::view::topology;
use parking_lot::Mutex;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, readlinkat, statat};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often the whole directory is gone through at most, whatever numbers somebody asks for, and any directory in it is
/// listed.
const PAUSE: Duration = Duration::from_secs(1);
/// So many directories' listings are remembered.
const MOST_LISTED: usize = 256;
/// Directories lie no deeper in each other. It only keeps a walk finite.
const DEPTH: usize = 8;

/// The directory. What is in it is known by the kernel's inode numbers, which nothing else gets while it is there,
/// and which the process after this one sees, too.
pub struct CpuDirectory {
    /// `None` where there is none.
    directory: Option<OwnedFd>,
    paths: Mutex<HashMap<u64, Vec<u8>>>,
    /// When all of it was gone through,
    walked: Mutex<Option<Instant>>,
    /// which one at a time does.
    walk: Mutex<()>,
    /// What was listed lately, by path.
    listed: Mutex<HashMap<Vec<u8>, Listed>>,
}

type Listed = (Instant, Arc<Entries>);

/// What is in a directory, by name.
pub type Entries = Vec<(Vec<u8>, Entry)>;

/// Something in the directory.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The kernel's inode number.
    pub ino: u64,
    /// A file, a directory or a symbolic link.
    pub kind: FileType,
    /// Its permissions.
    pub mode: u16,
}

impl CpuDirectory {
    pub(super) fn open(sys: Option<&OwnedFd>) -> Self {
        let directory = sys.and_then(|sys| open_bare(sys, "devices/system/cpu", PATH_DIR).ok());
        Self {
            directory,
            paths: Mutex::default(),
            walked: Mutex::default(),
            walk: Mutex::default(),
            listed: Mutex::default(),
        }
    }

    fn directory(&self) -> Result<&OwnedFd, Errno> {
        self.directory.as_ref().ok_or(Errno::NOENT)
    }

    /// What is at a path below the directory.
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
        if topology::is_masked(path) {
            return Err(Errno::NOENT);
        }
        let found = statat(self.directory()?, to_path(path), AtFlags::SYMLINK_NOFOLLOW)?;
        let mode = u16::try_from(found.st_mode & 0o7777).unwrap_or(0);
        Ok(Entry { ino: found.st_ino, kind: FileType::from_raw_mode(found.st_mode), mode })
    }

    /// Whether it is known where the entry of this number is, or that there is none: a predecessor's numbers have to be
    /// [learnt](Self::learn).
    #[must_use]
    pub fn knows(&self, ino: u64) -> bool {
        self.paths.lock().contains_key(&ino) || self.was_walked()
    }

    /// Goes through all of the directory, unless that was done just now. It takes long where there are many processors, and is
    /// not for a thread that others wait for.
    pub fn learn(&self) {
        let _one_at_a_time = self.walk.lock();
        if self.was_walked() {
            return;
        }
        let mut paths = HashMap::new();
        self.walk(b"", 0, &mut paths);
        let mut known = self.paths.lock();
        let before = std::mem::replace(&mut *known, paths);
        // What was found meanwhile may not have been there yet.
        let is_new = |(ino, path): &(u64, Vec<u8>)| self.look_at(path).is_ok_and(|entry| entry.ino == *ino);
        let new: Vec<_> =
            before.into_iter().filter(|(ino, _)| !known.contains_key(ino)).filter(is_new).collect();
        known.extend(new);
        *self.walked.lock() = Some(Instant::now());
    }

    fn was_walked(&self) -> bool {
        self.walked.lock().is_some_and(|walked| walked.elapsed() < PAUSE)
    }

    /// Where the entry of this number is, if that is [known](Self::knows).
    ///
    /// # Errors
    /// ESTALE where it is not there any more, as with a processor that was taken away.
    pub fn find(&self, ino: u64) -> Result<(Vec<u8>, Entry), Errno> {
        let path = self.paths.lock().get(&ino).cloned().ok_or(Errno::STALE)?;
        match self.look_at(&path) {
            Ok(entry) if entry.ino == ino => Ok((path, entry)),
            _ => {
                self.paths.lock().remove(&ino);
                Err(Errno::STALE)
            }
        }
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

    /// What is in a directory, or was a moment ago.
    ///
    /// # Errors
    /// The kernel's.
    pub fn list(&self, path: &[u8]) -> Result<Arc<Entries>, Errno> {
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

    /// Where a symbolic link leads.
    ///
    /// # Errors
    /// The kernel's.
    pub fn target(&self, path: &[u8]) -> Result<Vec<u8>, Errno> {
        Ok(readlinkat(self.directory()?, to_path(path), Vec::new())?.into_bytes())
    }

    /// The kernel's text of a file.
    ///
    /// # Errors
    /// The kernel's. Some of these files are root's, some fail now and then.
    pub fn text(&self, path: &[u8]) -> Result<Vec<u8>, Errno> {
        let opened = openat(self.directory()?, to_path(path), READ, Mode::empty())?;
        crate::fault::slow_file();
        let mut text = Vec::new();
        match File::from(opened).read_to_end(&mut text) {
            Ok(_) => Ok(text),
            Err(error) => Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
        }
    }
}

/// A path below a directory, from a path and a name.
pub fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() }
}

fn to_path(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(if path.is_empty() { b"." } else { path }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn numbers_of_a_predecessor_are_learnt() {
        let root = tempfile::tempdir().unwrap();
        let cpu = root.path().join("devices/system/cpu");
        fs::create_dir_all(cpu.join("cpu0/topology")).unwrap();
        fs::write(cpu.join("cpu0/topology/core_id"), "0\n").unwrap();
        let sys = OwnedFd::from(File::open(root.path()).unwrap());
        let open = || CpuDirectory::open(Some(&sys));
        let path = b"cpu0/topology/core_id".as_slice();
        let (before, after) = (open(), open());
        let ino = before.entry(path).unwrap().ino;
        assert!(before.knows(ino) && before.find(ino).unwrap().0 == path);
        assert!(!after.knows(ino) && after.find(ino).err() == Some(Errno::STALE));
        after.learn();
        assert!(after.knows(ino) && after.find(ino).unwrap().0 == path);
        // Nobody goes through all of it for what was not there a moment ago.
        assert!(after.knows(u64::MAX) && after.find(u64::MAX).err() == Some(Errno::STALE));
        fs::remove_file(cpu.join("cpu0/topology/core_id")).unwrap();
        assert_eq!(after.find(ino).err(), Some(Errno::STALE));
    }
}
