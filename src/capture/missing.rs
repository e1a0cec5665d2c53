//! Which file a capture lacks, so that there is no answer, or a wrong one.

use super::error::CaptureError;
use super::expected::{Expected, relative};
use super::stored::Capture;
use crate::error::{Error, escaped};
use crate::kernel::Reader;
use cgprocfs_core::parse::mountinfo::Mount;
use cgprocfs_core::parse::pid::Pid;
use cgprocfs_core::snapshot::Needs;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

impl Capture {
    /// A file that is not there, and without which a text that needs this may look right and be wrong: one
    /// that the kernel has wherever it has others, or that was there when the capture was made.
    #[must_use]
    pub fn missing_for(&self, needs: Needs) -> Option<String> {
        self.expected_for(needs).or_else(|| self.lost())
    }

    fn expected_for(&self, needs: Needs) -> Option<String> {
        let source = self.source().ok()?;
        let mut proc_cgroup = Vec::new();
        let reader =
            Reader { pid: self.pid, max_age: Duration::ZERO, needs, may_search: true, may_hang: true };
        let caller = source.caller(reader, &mut proc_cgroup).ok()?;
        let files = Expected::of(self, &source, &caller, needs).ok()?;
        let missing = files.into_iter().find(|file| !self.has(file))?;
        Some(escaped(missing.as_os_str().as_bytes()))
    }

    /// A file that was there when the capture was made.
    fn lost(&self) -> Option<String> {
        let mut files = self.files.split(|&b| b == b'\n').filter(|path| !path.is_empty());
        files.find(|path| !self.has(Path::new(OsStr::from_bytes(path)))).map(escaped)
    }

    /// Whether there is such a file, as far as it can be looked for: a path may be too long for that.
    fn has(&self, file: &Path) -> bool {
        let found = self.root.join(file).symlink_metadata();
        found.map_or_else(|e| e.raw_os_error() == Some(libc::ENAMETOOLONG), |_| true)
    }

    pub(super) fn lacks(&self, what: impl Into<String>) -> CaptureError {
        CaptureError::Lacks(self.shown.clone(), what.into())
    }

    /// Names the missing file that made an answer fail.
    pub(super) fn explain(&self, error: Error) -> CaptureError {
        match error {
            Error::ProcessGone(pid) => self.lacks(self.missing_of(pid).unwrap_or_else(|| {
                format!("the namespaces of process {pid}: link its to those of proc/self and write its container's path to `boundary`")
            })),
            // The search for the start of a container that ends with nothing.
            Error::Errno(_) => match self.missing_of(self.pid) {
                Some(path) => self.lacks(path),
                None => CaptureError::Read(error),
            },
            Error::CgroupGone(path) => self.lacks(match self.missing_of_cgroup(&path) {
                Some(file) => file,
                None => format!("the cgroup {path}, or a file of it"),
            }),
            Error::Unreadable { path, source } if source.kind() == io::ErrorKind::NotFound => {
                let root = self.root.display().to_string();
                let path = path.strip_prefix(&root).unwrap_or(&path).trim_start_matches('/');
                let is_of_host = path.starts_with("proc") || path.starts_with("sys/");
                self.lacks(if is_of_host { path.to_string() } else { format!("the cgroup's file {path}") })
            }
            error => CaptureError::Read(error),
        }
    }

    /// The file of a process that is missing.
    fn missing_of(&self, pid: Pid) -> Option<String> {
        let files = ["", "/cgroup", "/ns/cgroup", "/ns/pid", "/status", "/stat"];
        let is_missing = |path: &String| self.root.join(path).symlink_metadata().is_err();
        files.into_iter().map(|file| format!("proc/{pid}{file}")).find(is_missing)
    }

    /// The file of the memory controller that is missing in a cgroup which has others.
    fn missing_of_cgroup(&self, cgroup: &str) -> Option<String> {
        let files = |is_v2: bool| match is_v2 {
            true => ["memory.stat", "memory.current", "memory.max"],
            false => ["memory.stat", "memory.usage_in_bytes", "memory.limit_in_bytes"],
        };
        self.hierarchies_of_memory().into_iter().find_map(|(top, is_v2)| {
            let path = |file: &str| top.join(cgroup.trim_start_matches('/')).join(file);
            let (there, missing): (Vec<_>, Vec<_>) =
                files(is_v2).into_iter().map(path).partition(|path| self.root.join(path).exists());
            let missing = missing.first().filter(|_| !there.is_empty())?;
            Some(escaped(missing.as_os_str().as_bytes()))
        })
    }

    /// The missing file by which a hierarchy of the mount table would be known to be there.
    pub(super) fn missing_hierarchy(&self) -> String {
        let missing = self.hierarchies_of_memory().into_iter().find_map(|(top, is_v2)| {
            let path = top.join(if is_v2 { "cgroup.controllers" } else { "cgroup.procs" });
            (!self.root.join(&path).exists()).then(|| escaped(path.as_os_str().as_bytes()))
        });
        missing.unwrap_or_else(|| "a hierarchy with the memory controller in proc/self/mountinfo".into())
    }

    /// The mount points that may have the memory controller, and whether they are of cgroup v2.
    fn hierarchies_of_memory(&self) -> Vec<(PathBuf, bool)> {
        let table = fs::read(self.root.join("proc/self/mountinfo")).unwrap_or_default();
        let of_memory = Mount::parse_all(&table).unwrap_or_default().into_iter().filter_map(|mount| {
            let is_v2 = match &*mount.fs_type {
                b"cgroup" if mount.has_super_option("memory") => false,
                b"cgroup2" => true,
                _ => return None,
            };
            let top = Path::new(OsStr::from_bytes(mount.mount_point.trim_ascii_start()));
            Some((relative(top).to_path_buf(), is_v2))
        });
        of_memory.collect()
    }
}
