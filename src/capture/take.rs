//! Makes a capture of a running process.

use super::error::CaptureError;
use super::stored::{Capture, SYSTEM};
use crate::kernel::Source;
use crate::service::Service;
use cgprocfs_core::parse::pid::Pid;
use cgprocfs_core::view::ViewId;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

/// Captures what the process `pid` is told by `source`, and says what had to be left out.
///
/// # Errors
/// Where `directory` has something in it or can't be written, or the process can't be looked at.
pub fn capture(source: &Source, pid: Pid, directory: &Path) -> Result<Vec<String>, CaptureError> {
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
    let files = files_below(&directory.join("root"), Path::new("")).map_err(|e| failed(directory, e))?;
    write("files", &files.concat())?;
    let capture = Capture::open(directory, Some(pid))?;
    let service = Arc::new(Service::new(capture.source()?, 1));
    for view in ViewId::ALL {
        // Some kernels lack some files.
        if let Ok(text) = capture.text(&service, view) {
            write(&format!("expected/{}", view.path()), &text)?;
        }
    }
    for path in capture.of_nodes() {
        // Some are of nodes that the reader may not use.
        if let Ok(text) = capture.system_text(&service, &path) {
            write(&format!("expected/{SYSTEM}{path}"), &text)?;
        }
    }
    Ok(copied.left_out)
}

/// The files and links in a directory of `root` and below, a line each; no cgroup's name has a newline.
fn files_below(root: &Path, directory: &Path) -> io::Result<Vec<Vec<u8>>> {
    let mut files = Vec::new();
    let entries = match fs::read_dir(root.join(directory)) {
        // Copied by shorter steps, and never looked for by its whole path.
        Err(e) if e.raw_os_error() == Some(libc::ENAMETOOLONG) => return Ok(files),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let path = directory.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => files.extend(files_below(root, &path)?),
            false => files.push([path.as_os_str().as_bytes(), b"\n"].concat()),
        }
    }
    files.sort_unstable();
    Ok(files)
}
