//! Makes a capture of a running process.

use super::error::CaptureError;
use super::stored::{Capture, SYSTEM};
use crate::kernel::Source;
use crate::service::Service;
use cgprocfs_core::parse::pid::Pid;
use cgprocfs_core::view::ViewId;
use std::fs;
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
