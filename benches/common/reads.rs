//! What no server of `proc/meminfo` can do without: it finds out who asks, and reads the files that have the
//! numbers, all of it through descriptors that stay open.

use cgprocfs::kernel::{CgroupMounts, Hierarchy};
use cgprocfs_core::parse::CgroupVersion;
use cgprocfs_core::parse::pid::Pid;
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// How many processes are known at most: each keeps some ten files open.
const MAX_KNOWN: usize = 64;

/// Reads for each process that asks what its answer would be made from.
pub struct Reads {
    memory: Hierarchy,
    known: Mutex<HashMap<u32, Arc<Files>>>,
}

/// The files for one process.
struct Files {
    cgroup: PathBuf,
    /// In the order in which they are read.
    opened: Vec<File>,
}

impl Reads {
    pub fn new() -> Self {
        let memory = CgroupMounts::detect(Path::new("/")).unwrap().memory;
        Self { memory, known: Mutex::default() }
    }

    /// Reads what the answer for a process is made from, and makes none.
    pub fn read_for(&self, pid: u32) {
        let known = self.known.lock().unwrap().get(&pid).map(Arc::clone);
        let files = known.unwrap_or_else(|| {
            let files = Arc::new(self.open(pid));
            let mut known = self.known.lock().unwrap();
            if known.len() >= MAX_KNOWN {
                known.clear();
            }
            known.insert(pid, Arc::clone(&files));
            drop(known);
            files
        });
        std::fs::read_link(format!("/proc/{pid}/ns/cgroup")).unwrap();
        std::fs::metadata(&files.cgroup).unwrap();
        let mut buffer = [0; 4096];
        files.opened.iter().for_each(|file| assert!(file.read_at(&mut buffer, 0).unwrap() > 0));
    }

    fn open(&self, pid: u32) -> Files {
        let proc_cgroup = format!("/proc/{pid}/cgroup");
        let text = std::fs::read(&proc_cgroup).unwrap();
        let path = self.memory.path_in(&text, Pid::new(pid)).unwrap().strip_prefix(b"/").unwrap();
        let cgroup = self.memory.mount_point.join(std::str::from_utf8(path).unwrap());
        let (usage, limit) = match self.memory.version {
            CgroupVersion::V1 => ("memory.usage_in_bytes", "memory.limit_in_bytes"),
            CgroupVersion::V2 => ("memory.current", "memory.max"),
        };
        let names = ["memory.stat", usage, limit];
        let of_levels = cgroup.ancestors().take(2).flat_map(|level| names.map(|name| level.join(name)));
        let paths = [proc_cgroup.into(), "/proc/meminfo".into()].into_iter().chain(of_levels);
        let opened = paths.map(|path: PathBuf| File::open(path).unwrap()).collect();
        Files { cgroup, opened }
    }
}
