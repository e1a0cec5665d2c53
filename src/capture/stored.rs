//! A capture that was made before, and what its reader is told.

use super::error::CaptureError;
use crate::error::Error;
use crate::kernel::{CgroupMountsError, Source};
use crate::service::Service;
use cgprocfs_core::parse::pid::Pid;
use cgprocfs_core::view::ViewId;
use rustix::io::Errno;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The directory below which whole directories are served.
pub const SYSTEM: &str = "sys/devices/system/";

/// A capture that was made before.
pub struct Capture {
    /// Its path, as it was named.
    pub(super) shown: String,
    pub(super) root: PathBuf,
    /// The process that reads.
    pub pid: Pid,
    boundary: Option<Vec<u8>>,
    /// What was below its root when it was made, a line each; empty where nobody has written it down.
    pub(super) files: Vec<u8>,
    /// What an answer might read and the capture lacks: a line each.
    pub left_out: Vec<String>,
}

impl Capture {
    /// Finds a capture, or a tree that looks like a host's `/`, and who reads there: `pid`, or who it was
    /// made for.
    ///
    /// # Errors
    /// Where it is neither, or nobody knows who reads.
    pub fn open(directory: &Path, pid: Option<Pid>) -> Result<Self, CaptureError> {
        let shown = directory.display().to_string();
        let inner = directory.join("root");
        let root = if inner.is_dir() { inner } else { directory.to_path_buf() };
        if !root.join("proc").is_dir() {
            return Err(CaptureError::NoTree(shown));
        }
        let text = |name: &str| fs::read(directory.join(name)).ok();
        let number = |text: Vec<u8>| std::str::from_utf8(&text).ok()?.trim().parse::<usize>().ok();
        let reader = text("reader").and_then(|text| Pid::parse(text.trim_ascii()).ok());
        let pid = pid.or(reader).ok_or_else(|| CaptureError::NoReader(shown.clone()))?;
        let (page, own_page) = (text("page-size").and_then(number), rustix::param::page_size());
        if let Some(page) = page.filter(|&page| page != own_page) {
            return Err(CaptureError::OtherPages(shown, page, own_page));
        }
        // No cgroup's name has a newline.
        let boundary =
            text("boundary").map(|path| path.split(|&b| b == b'\n').next().unwrap_or_default().to_vec());
        let files = text("files").unwrap_or_default();
        let left_out = text("left-out").unwrap_or_default();
        let left_out = String::from_utf8_lossy(&left_out).lines().map(str::to_string).collect();
        Ok(Self { shown, root, pid, boundary, files, left_out })
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
}
