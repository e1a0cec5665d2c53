//! A capture: a directory from which anybody can compute what a reader was told.
//!
//! `root/` looks like the `/` of the reader's host and has just the files that an answer reads; `reader` holds the id of the process that
//! reads, `boundary` the path of its container's cgroup, and `expected/` what each view says. The trees in `tests/fixtures` have this form;
//! only captured ones have `left-out` and `page-size`.

use crate::error::{Error, escaped};
use crate::kernel::{CgroupMountsError, CopyError, Source};
use crate::service::Service;
use cgprocfs_core::parse::mountinfo::Mount;
use cgprocfs_core::view::ViewId;
use rustix::io::Errno;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why there is no capture, or why one tells nothing.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The directory has something in it already.
    #[error("{0} is not empty")]
    NotEmpty(String),
    /// The capture can't be written.
    #[error("cannot write {0}: {1}")]
    Write(String, #[source] io::Error),
    /// The reader can't be copied.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// Neither the capture nor the command line says which process reads.
    #[error("{0} does not say which process reads")]
    NoReader(String),
    /// The directory is no capture.
    #[error("{0} has no directory `proc`, nor one `root` that has")]
    NoTree(String),
    /// The capture lacks a file that an answer is made from.
    #[error("{0} lacks {1}")]
    Lacks(String, String),
    /// The capture is from a machine with pages of another size, in which the kernel counts.
    #[error("{0} is of a machine with pages of {1} bytes, and this one's have {2}")]
    OtherPages(String, usize, usize),
    /// A file of the capture makes no sense.
    #[error(transparent)]
    Read(Error),
}

/// Captures what the process `pid` is told by `source`, and says what had to be left out.
///
/// # Errors
/// Where `directory` has something in it or can't be written, or the process can't be looked at.
pub fn capture(source: &Source, pid: u32, directory: &Path) -> Result<Vec<String>, CaptureError> {
    let failed = |path: &Path, e| CaptureError::Write(path.display().to_string(), e);
    let made = fs::create_dir_all(directory).and_then(|()| fs::read_dir(directory));
    if made.map_err(|e| failed(directory, e))?.next().is_some() {
        return Err(CaptureError::NotEmpty(directory.display().to_string()));
    }
    let write = |name: &str, text: &[u8]| {
        let path = directory.join(name);
        path.parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::write(&path, text))
            .map_err(|e| failed(&path, e))
    };
    let copied = source.copy(pid, &directory.join("root"))?;
    write("reader", format!("{pid}\n").as_bytes())?;
    write("page-size", format!("{}\n", rustix::param::page_size()).as_bytes())?;
    if let Some(container) = &copied.container {
        write("boundary", &[container, &b"\n"[..]].concat())?;
    }
    if !copied.left_out.is_empty() {
        write("left-out", (copied.left_out.join("\n") + "\n").as_bytes())?;
    }
    let capture = Capture::open(directory, Some(pid))?;
    let service = Arc::new(Service::new(capture.source()?, 1));
    for view in ViewId::ALL {
        // Some kernels lack some files.
        if let Ok(text) = capture.text(&service, view) {
            write(&format!("expected/{}", view.path()), &text)?;
        }
    }
    for path in capture.of_nodes() {
        // Some are of nodes that the reader has not.
        if let Ok(text) = capture.system_text(&service, &path) {
            write(&format!("expected/{SYSTEM}{path}"), &text)?;
        }
    }
    Ok(copied.left_out)
}

/// The directory below which whole directories are served.
pub const SYSTEM: &str = "sys/devices/system/";

/// A capture that was made before.
pub struct Capture {
    /// Its path, as it was named.
    shown: String,
    root: PathBuf,
    /// The process that reads.
    pub pid: u32,
    boundary: Option<Vec<u8>>,
    /// What an answer might read and the capture lacks: a line each.
    pub left_out: Vec<String>,
}

impl Capture {
    /// Finds a capture, or a tree that looks like a host's `/`, and who reads there: `pid`, or who it was made for.
    ///
    /// # Errors
    /// Where it is neither, or nobody knows who reads.
    pub fn open(directory: &Path, pid: Option<u32>) -> Result<Self, CaptureError> {
        let shown = directory.display().to_string();
        let inner = directory.join("root");
        let root = if inner.is_dir() { inner } else { directory.to_path_buf() };
        if !root.join("proc").is_dir() {
            return Err(CaptureError::NoTree(shown));
        }
        let text = |name: &str| fs::read(directory.join(name)).ok();
        let number = |text: Vec<u8>| std::str::from_utf8(&text).ok()?.trim().parse::<usize>().ok();
        let reader = text("reader").and_then(number).and_then(|pid| pid.try_into().ok());
        let pid = pid.or(reader).ok_or_else(|| CaptureError::NoReader(shown.clone()))?;
        let (page, own_page) = (text("page-size").and_then(number), rustix::param::page_size());
        if let Some(page) = page.filter(|&page| page != own_page) {
            return Err(CaptureError::OtherPages(shown, page, own_page));
        }
        // No cgroup's name has a newline.
        let boundary =
            text("boundary").map(|path| path.split(|&b| b == b'\n').next().unwrap_or_default().to_vec());
        let left_out = text("left-out").unwrap_or_default();
        let left_out = String::from_utf8_lossy(&left_out).lines().map(str::to_string).collect();
        Ok(Self { shown, root, pid, boundary, left_out })
    }

    /// The system that was captured.
    ///
    /// # Errors
    /// Where a file is missing that every answer needs.
    pub fn source(&self) -> Result<Source, CaptureError> {
        Source::open(&self.root, self.boundary.clone()).map_err(|error| match error {
            CgroupMountsError::NoMemoryController => self.lacks(self.missing_hierarchy()),
            CgroupMountsError::Unreadable(error) => self.explain(error),
        })
    }

    /// What the reader is told in `view`.
    ///
    /// # Errors
    /// Where a file is missing that it is made from, or makes no sense.
    pub fn text(&self, service: &Arc<Service>, view: ViewId) -> Result<Vec<u8>, CaptureError> {
        service.text(self.pid, view).map(|text| text.bytes.clone()).map_err(|error| self.explain(error))
    }

    /// What the reader is told in a file below `sys/devices/system` that is no view.
    ///
    /// # Errors
    /// As [`text`](Self::text), and where the reader has no such file.
    pub fn system_text(&self, service: &Arc<Service>, path: &str) -> Result<Vec<u8>, CaptureError> {
        match service.system_text(self.pid, path) {
            Ok(text) => Ok(text.bytes.clone()),
            Err(Error::Errno(Errno::NOENT)) if !self.root.join(SYSTEM).join(path).exists() => {
                Err(self.lacks(format!("{SYSTEM}{path}")))
            }
            Err(Error::Errno(errno)) => Err(CaptureError::Read(Error::Errno(errno))),
            Err(error) => Err(self.explain(error)),
        }
    }

    /// The files of memory nodes that are in it, below `sys/devices/system`.
    #[must_use]
    pub fn of_nodes(&self) -> Vec<String> {
        let names = |path: &Path| -> Vec<String> {
            let entries = fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
        };
        let top = self.root.join(SYSTEM).join("node");
        let nodes = names(&top).into_iter().filter(|name| top.join(name).is_dir());
        let files = nodes.flat_map(|node| {
            let files =
                names(&top.join(&node)).into_iter().filter(|name| top.join(&node).join(name).is_file());
            files.map(|name| format!("node/{node}/{name}")).collect::<Vec<_>>()
        });
        let mut files: Vec<_> = files.collect();
        files.sort_unstable();
        files
    }

    fn lacks(&self, what: impl Into<String>) -> CaptureError {
        CaptureError::Lacks(self.shown.clone(), what.into())
    }

    /// Names the missing file for want of which an answer failed.
    fn explain(&self, error: Error) -> CaptureError {
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
    fn missing_of(&self, pid: u32) -> Option<String> {
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
    fn missing_hierarchy(&self) -> String {
        let missing = self.hierarchies_of_memory().into_iter().find_map(|(top, is_v2)| {
            let path = top.join(if is_v2 { "cgroup.controllers" } else { "cgroup.procs" });
            (!self.root.join(&path).exists()).then(|| escaped(path.as_os_str().as_bytes()))
        });
        missing.unwrap_or_else(|| "a hierarchy with the memory controller in proc/self/mountinfo".into())
    }

    /// The mount points that may have the memory controller, and whether they are of cgroup v2.
    fn hierarchies_of_memory(&self) -> Vec<(PathBuf, bool)> {
        let table = fs::read(self.root.join("proc/self/mountinfo")).unwrap_or_default();
        let of_memory = Mount::parse_table(&table).unwrap_or_default().into_iter().filter_map(|mount| {
            let is_v2 = match &*mount.fs_type {
                b"cgroup" if mount.has_super_option("memory") => false,
                b"cgroup2" => true,
                _ => return None,
            };
            let top = Path::new(std::ffi::OsStr::from_bytes(mount.mount_point.trim_ascii_start()));
            Some((top.strip_prefix("/").unwrap_or(top).to_path_buf(), is_v2))
        });
        of_memory.collect()
    }
}
