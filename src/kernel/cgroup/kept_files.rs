//! Files of a container's cgroups in the hierarchies beside the memory controller's, kept open from one
//! reading to the next: to open, read and close one costs three times as much as to read it.

use super::id::CgroupId;
use super::location::CgroupLocation;
use super::mounts::Hierarchy;
use crate::error::{Error, escaped};
use crate::kernel::read::read_with;
use crate::rate_limited_log::malformed_value;
use cgprocfs_core::parse::{CgroupVersion, ParseError};
use parking_lot::Mutex;
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;

/// The files that are kept open for the readers of one cgroup.
#[derive(Default)]
pub(crate) struct KeptFiles(Mutex<State>);

#[derive(Default)]
struct State {
    /// The `/proc/PID/cgroup` of the reader whose files these are.
    proc_cgroup: Box<[u8]>,
    leaves: Vec<Leaf>,
    files: Vec<Kept>,
}

/// The cgroup of a hierarchy that was read last; the other files of the hierarchy are of those above it.
struct Leaf {
    controller: &'static str,
    id: CgroupId,
}

struct Kept {
    controller: &'static str,
    /// How long the path of its cgroup is.
    path_len: usize,
    name: &'static str,
    file: OwnedFd,
}

impl KeptFiles {
    /// How many are kept at most.
    const MAX_OPEN: usize = 12;
    /// How many are kept of a container in a pod, both with a limit, on cgroup v1.
    pub(crate) const USUALLY_OPEN: usize = 8;

    /// Closes the files if they are those of a reader that was in other cgroups. To be called before others
    /// are read.
    pub(crate) fn begin(&self, proc_cgroup: &[u8]) {
        let mut state = self.0.lock();
        if *state.proc_cgroup != *proc_cgroup {
            *state = State { proc_cgroup: proc_cgroup.into(), ..State::default() };
        }
    }

    /// Closes the files of a hierarchy if the path of its `leaf` leads to another cgroup by now. A cgroup
    /// that was removed says so itself when it is read; one of version 1 may have been renamed, and another
    /// may have got its name.
    fn verify(&self, hierarchy: &Hierarchy, leaf: &[u8]) {
        if hierarchy.version == CgroupVersion::V2 {
            return;
        }
        let controller = hierarchy.controller;
        let id = CgroupId::new(hierarchy.locate(leaf).status().map_or(0, |status| status.st_ino));
        let mut state = self.0.lock();
        match state.leaves.iter_mut().find(|leaf| leaf.controller == controller) {
            Some(known) if known.id == id => {}
            Some(known) => {
                known.id = id;
                state.close(controller);
            }
            None => state.leaves.push(Leaf { controller, id }),
        }
    }

    /// Reads a file of the cgroup at `location`; `None` if there is none of that name.
    fn read<T>(
        &self,
        controller: &'static str,
        location: CgroupLocation<'_>,
        name: &'static str,
        parse: impl FnOnce(&[u8]) -> Result<T, ParseError>,
    ) -> Result<Option<T>, Error> {
        let path = || format!("{}/{name}", escaped(location.cgroup));
        let key = (controller, location.cgroup.len(), name);
        // Only one thread reads a cgroup at a time.
        let mut state = self.0.lock();
        let mut parse = Some(parse);
        let mut read = |file: &OwnedFd| read_with(file, |text| parse.take().map(|parse| parse(text)));
        let parsed = match state.files.iter().find(|kept| kept.key() == key).map(|kept| read(&kept.file)) {
            Some(Ok(parsed)) => parsed,
            // It was removed, and maybe another was made in its place.
            Some(Err(_)) => {
                state.close(controller);
                None
            }
            None => None,
        };
        let parsed = match parsed {
            Some(parsed) => parsed,
            None => {
                let file = match location.open(name) {
                    Ok(file) => file,
                    Err(Errno::NOENT) => return Ok(None),
                    Err(e) => return Err(Error::unreadable(path(), e)),
                };
                let unread = || io::Error::from(io::ErrorKind::InvalidData);
                let parsed = read(&file).and_then(|parsed| parsed.ok_or_else(unread));
                let parsed = parsed.map_err(|e| Error::unreadable(path(), e))?;
                if state.files.len() < Self::MAX_OPEN {
                    state.files.push(Kept { controller, path_len: key.1, name, file });
                }
                parsed
            }
        };
        drop(state);
        parsed.map(Some).map_err(|e| Error::malformed(path(), e))
    }
}

/// How files of one hierarchy are read: by those that are kept open, if there are any.
#[derive(Clone, Copy)]
pub(crate) struct CgroupReader<'r> {
    pub(crate) hierarchy: &'r Hierarchy,
    pub(crate) kept: Option<&'r KeptFiles>,
}

impl<'r> CgroupReader<'r> {
    /// One that reads `leaf` and cgroups above it.
    pub(crate) fn new(hierarchy: &'r Hierarchy, kept: Option<&'r KeptFiles>, leaf: &[u8]) -> Self {
        if let Some(kept) = kept {
            kept.verify(hierarchy, leaf);
        }
        Self { hierarchy, kept }
    }

    /// Reads a file of the cgroup at `location`; `None` if there is none of that name.
    pub(crate) fn read<T>(
        self,
        location: CgroupLocation<'_>,
        name: &'static str,
        parse: impl FnOnce(&[u8]) -> Result<T, ParseError>,
    ) -> Result<Option<T>, Error> {
        match self.kept {
            Some(kept) => kept.read(self.hierarchy.controller, location, name, parse),
            None => location.read(name, parse),
        }
    }

    /// Reads a file; `None` if there is none of that name, or if its text is malformed, which is logged.
    pub(crate) fn read_or_log<T>(
        self,
        location: CgroupLocation<'_>,
        name: &'static str,
        parse: impl FnOnce(&[u8]) -> Result<T, ParseError>,
    ) -> Result<Option<T>, Error> {
        match self.read(location, name, parse) {
            Err(Error::Malformed { .. }) => {
                malformed_value(location.cgroup, name);
                Ok(None)
            }
            read => read,
        }
    }
}

impl Kept {
    fn key(&self) -> (&'static str, usize, &'static str) {
        (self.controller, self.path_len, self.name)
    }
}

impl State {
    fn close(&mut self, controller: &str) {
        self.files.retain(|kept| kept.controller != controller);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::read::PATH_DIR;
    use cgprocfs_core::parse::counter::number;
    use rustix::fs::Mode;
    use std::fs;
    use std::path::Path;

    fn hierarchy(dir: &Path) -> Hierarchy {
        let mut hierarchy = Hierarchy::for_test("cpuacct");
        hierarchy.dir = rustix::fs::open(dir, PATH_DIR, Mode::empty()).unwrap();
        hierarchy
    }

    #[test]
    fn a_file_stays_open_until_its_cgroup_is_another() {
        let dir = tempfile::tempdir().unwrap();
        let hierarchy = hierarchy(dir.path());
        let set = |cgroup: &str, value: &str| {
            fs::create_dir_all(dir.path().join(cgroup)).unwrap();
            fs::write(dir.path().join(cgroup).join("cpuacct.usage"), value).unwrap();
        };
        let kept = KeptFiles::default();
        let read = |proc_cgroup: &[u8]| {
            kept.begin(proc_cgroup);
            kept.verify(&hierarchy, b"/c");
            kept.read("cpuacct", hierarchy.locate(b"/c"), "cpuacct.usage", number).unwrap()
        };
        let open = || kept.0.lock().files.len();
        assert_eq!((read(b"1:cpuacct:/c"), open()), (None, 0));
        set("c", "7\n");
        assert_eq!((read(b"1:cpuacct:/c"), open()), (Some(7), 1));
        set("c", "8\n");
        assert_eq!((read(b"1:cpuacct:/c"), open()), (Some(8), 1));
        // It is renamed, and another gets its name.
        fs::rename(dir.path().join("c"), dir.path().join("renamed")).unwrap();
        set("c", "1\n");
        assert_eq!((read(b"1:cpuacct:/c"), open()), (Some(1), 1));
        assert_eq!(read(b"1:cpuacct:/c\n2:cpu:/other"), Some(1));
        fs::remove_dir_all(dir.path().join("c")).unwrap();
        assert_eq!((read(b"1:cpuacct:/c"), open()), (None, 0));
    }

    #[test]
    fn no_more_are_kept_than_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let hierarchy = hierarchy(dir.path());
        let (kept, path) = (KeptFiles::default(), "/c".repeat(40));
        fs::create_dir_all(dir.path().join(&path[1..])).unwrap();
        for length in (2..=path.len()).step_by(2) {
            let cgroup = &path[..length];
            fs::write(dir.path().join(&cgroup[1..]).join("x"), format!("{length}\n")).unwrap();
            let location = hierarchy.locate(cgroup.as_bytes());
            assert_eq!(kept.read("cpuacct", location, "x", number).unwrap(), Some(length as u64));
        }
        assert_eq!(kept.0.lock().files.len(), KeptFiles::MAX_OPEN);
    }
}
