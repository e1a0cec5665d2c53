//! `cgprocfs show`: a view as some process reads it, without any mount.

use super::{Failure, views};
use crate::service::Service;
use crate::source::Source;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// Print what a process reads in a view; needs no mount and no daemon, nor root for your own processes
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The view, such as proc/stat or working_set
    #[arg(default_value = "proc/meminfo")]
    view: String,
    /// The process or thread; by default this one
    #[arg(long)]
    pid: Option<u32>,
    #[command(flatten)]
    cpu_view: super::CpuViewArgument,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let view = views::named(&arguments.view).map_err(Failure::Other)?;
    let source = Source::open(Path::new("/"), None)?.counting_by(arguments.cpu_view.get());
    let service = Arc::new(Service::new(source, 1));
    let pid = match arguments.pid {
        Some(0) => return Err(Failure::Other("there is no process 0; name one that runs".into())),
        Some(pid) => pid,
        None => std::process::id(),
    };
    let text = service.text(pid, view)?;
    std::io::stdout()
        .write_all(&text.bytes)
        .map_err(|e| Failure::Other(format!("cannot write the view: {e}; check where the output goes")))?;
    Ok(ExitCode::SUCCESS)
}
