//! `cgprocfs show`: a view as some process reads it, without any mount.

use super::cpu_view::CpuViewArgument;
use super::failure::Failure;
use super::{hint, views};
use crate::capture::{Capture, CaptureError, SYSTEM};
use crate::kernel::Source;
use crate::process::own_pid;
use crate::service::Service;
use cgprocfs_core::parse::pid::Pid;
use cgprocfs_core::snapshot::Needs;
use cgprocfs_core::topology::Topology;
use cgprocfs_core::view::ViewId;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// Print what a process reads in a view; needs no mount and no daemon, nor root for your own processes
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The view, such as proc/stat or working_set, or a file below sys/devices/system/cpu or node; by default
    /// proc/meminfo, or all of a capture
    view: Option<String>,
    /// The process or thread; by default this one, or the one that was captured
    #[arg(long)]
    pid: Option<Pid>,
    /// What the process read there when `cgprocfs capture` made this directory
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    #[command(flatten)]
    cpu_view: CpuViewArgument,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let shown = arguments.view.as_deref().map(Shown::named).transpose().map_err(Failure::Other)?;
    let pid = process(arguments.pid)?;
    let service = |source: Source| Arc::new(Service::new(source.with_cpu_view(arguments.cpu_view.get()), 1));
    if let Some(root) = &arguments.root {
        let capture = Capture::open(root, pid)?;
        say_left_out(&capture.left_out);
        let service = service(capture.source()?);
        return match shown {
            Some(Shown::View(view)) => print(&text_of(&capture, &service, view)?),
            Some(Shown::SystemFile(path)) => {
                let text = capture.system_text(&service, path)?;
                say_missing(&capture, path, Topology::needs(path.as_bytes()));
                print(&text)
            }
            None => print_all(|view| text_of(&capture, &service, view)),
        };
    }
    let shown = shown.map_or_else(|| Shown::named("proc/meminfo"), Ok).map_err(Failure::Other)?;
    let service = service(Source::open(Path::new("/"), None)?);
    let pid = pid.unwrap_or_else(own_pid);
    let text = match shown {
        Shown::View(view) => service.text(pid, view)?,
        Shown::SystemFile(path) => service.system_text(pid, path)?,
    };
    print(&text.bytes)
}

/// The text of a view of a capture. What that is wrong without is said.
fn text_of(capture: &Capture, service: &Arc<Service>, view: ViewId) -> Result<Vec<u8>, CaptureError> {
    let text = capture.text(service, view)?;
    say_missing(capture, view.path(), view.needs());
    Ok(text)
}

fn say_missing(capture: &Capture, shown: &str, needs: Needs) {
    if let Some(path) = capture.missing_for(needs) {
        eprintln!("cgprocfs: {shown} may be wrong: the capture lacks {path}; add it, or capture it again");
    }
}

/// What is to be shown.
enum Shown<'a> {
    View(ViewId),
    /// Below `sys/devices/system`.
    SystemFile(&'a str),
}

impl<'a> Shown<'a> {
    fn named(name: &'a str) -> Result<Self, String> {
        let view = views::named(name);
        let path = name.trim_start_matches('/').strip_prefix(SYSTEM);
        match path.filter(|path| path.starts_with("cpu/") || path.starts_with("node/")) {
            Some(path) if view.is_err() => Ok(Self::SystemFile(path)),
            _ => view.map(Self::View),
        }
    }
}

/// Every view under its name. Some kernels lack some files: which those are is said, and is no failure unless
/// nothing is left.
fn print_all(text: impl Fn(ViewId) -> Result<Vec<u8>, CaptureError>) -> Result<ExitCode, Failure> {
    let mut all = Vec::new();
    let mut failed = Vec::new();
    for view in ViewId::ALL {
        match text(view) {
            Ok(text) => {
                let gap = if all.is_empty() { "" } else { "\n" };
                all.extend_from_slice(format!("{gap}==> {} <==\n", view.path()).as_bytes());
                all.extend_from_slice(&text);
            }
            Err(error) => failed.push((view.path(), error)),
        }
    }
    let nothing_else = if all.is_empty() { failed.pop() } else { None };
    if let Some((_, error)) = nothing_else {
        return Err(error.into());
    }
    for (path, error) in failed {
        eprintln!("cgprocfs: no {path}: {}", hint::line(&error));
    }
    print(&all)
}

fn print(text: &[u8]) -> Result<ExitCode, Failure> {
    std::io::stdout()
        .write_all(text)
        .map_err(|e| Failure::Other(format!("cannot write the view: {e}; check where the output goes")))?;
    Ok(ExitCode::SUCCESS)
}

/// The process that was named, which cannot be 0.
pub(super) fn process(pid: Option<Pid>) -> Result<Option<Pid>, Failure> {
    match pid {
        Some(Pid::UNSEEN) => Err(Failure::Other("there is no process 0; name one that runs".into())),
        pid => Ok(pid),
    }
}

/// Says what is not in a capture: numbers that are made from it may be wrong.
pub(super) fn say_left_out(left_out: &[String]) {
    for line in left_out {
        eprintln!("cgprocfs: not in the capture: {line}");
    }
}
