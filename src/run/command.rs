//! Runs a program, from its cgroup to its report.

use super::cgroup::{self, Limits, RunCgroup};
use super::error::RunError;
use super::janitor::Janitor;
use super::measure::Measurement;
use super::namespace::Namespace;
use super::report::Report;
use super::{namespace, signals, syscalls, time_namespace};
use crate::kernel::{CpuView, Source};
use crate::limits;
use crate::service::Service;
use crate::sys::Place;
use cgprocfs_core::parse::pid::Pid;
use cgprocfs_core::snapshot::HostFile;
use cgprocfs_core::syscalls::sysinfo::UptimeOf;
use cgprocfs_core::units::{Bytes, MilliCpus};
use cgprocfs_core::view::ViewId;
use std::ffi::{CString, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What to run and how.
pub struct Options {
    /// Limit on the program's memory; `None` is no limit.
    pub memory: Option<Bytes>,
    /// Limit on its processor time; `None` is no limit.
    pub cpus: Option<MilliCpus>,
    /// What makes it have fewer processors than the host.
    pub cpu_view: CpuView,
    /// What it sees instead of the kernel's files.
    pub views: Vec<ViewId>,
    /// Whether sysinfo(2) and sched_getaffinity(2) tell it of its cgroup, too.
    pub syscalls: bool,
    /// How often to print the numbers while the program runs.
    pub refresh: Option<Duration>,
    /// Whether to print for machines.
    pub json: bool,
    /// The program.
    pub program: OsString,
    /// Its arguments.
    pub arguments: Vec<OsString>,
}

/// Runs the program and reports on stderr what it used. Returns its exit code, 128 and the signal's
/// number if a signal ended it.
///
/// # Errors
/// Where it could not be started; nothing is left behind then.
pub fn run(options: Options) -> Result<u8, RunError> {
    if !rustix::process::geteuid().is_root() {
        return Err(RunError::NotRoot);
    }
    // With a heap for each thread glibc would ask for the number of processors, by a file that serving
    // threads see as a view.
    crate::sys::share_one_heap();
    // Before any thread is made, for all of them to inherit.
    let signals = signals::block()?;
    let name = cgroup::unique_name();
    let cgroup_mounts = crate::kernel::CgroupMounts::detect(Path::new("/"))?;
    // Before there is anything to clean up.
    let _janitor = Janitor::start(&cgroup::directories(&cgroup_mounts, &name))?;
    let limits = Limits { memory: options.memory, cpus: options.cpus };
    let cgroup = RunCgroup::create(&cgroup_mounts, &name, limits)?;
    let source = Source::open(Path::new("/"), Some(cgroup.path().to_vec()))?.with_cpu_view(options.cpu_view);
    let (most_files, limit_on_files) = limits::raise_open_files();
    let service = Arc::new(Service::new(source, most_files));

    let no_thread = |e| RunError::System("cannot start a thread", e);
    service.spawn_dispatchers().map_err(no_thread)?;
    service.spawn_load_sampler().map_err(no_thread)?;
    service.spawn_sweeper().map_err(no_thread)?;
    let namespace = namespace::with_views(&service, &options.views)?;
    let mut command = Command::new(&options.program);
    command.args(&options.arguments);
    let directory = std::env::current_dir().unwrap_or_else(|_| "/".into());
    let directory = CString::new(directory.as_os_str().as_bytes()).unwrap_or_default();
    let time = time_namespace::booted_now()?;
    let uptime =
        match time.is_some() || options.views.iter().any(|view| view.path() == HostFile::Uptime.path()) {
            true => UptimeOf::Container,
            false => UptimeOf::System,
        };
    let (listening, listener) = match options.syscalls {
        true => Some(syscalls::prepare()?).unzip(),
        false => (None, None),
    };
    let Namespace { mounts, root } = namespace;
    let place = Place { mounts, root, time, directory, limit_on_files, listening };
    crate::sys::start_in(&mut command, cgroup.procs()?, place);

    let started = Instant::now();
    let mut program = command.spawn().map_err(|e| not_started(&options, e))?;
    drop(command);
    if let Some(listener) = listener {
        syscalls::answer(&service, &listener, uptime)?;
    }
    let pid = Pid::new(program.id());
    signals::forward(signals, pid)?;
    let measurement =
        Measurement::start(Arc::clone(&service), cgroup, pid, started, options.refresh, options.json)?;
    let status = program.wait().map_err(|e| RunError::System("cannot wait for the program", e))?;
    let (cgroup, last, peak_seen) = measurement.stop();
    let report = Report::new(&cgroup, &status, started.elapsed(), last, peak_seen, options.memory);
    report.print(&options.program.to_string_lossy(), options.json);
    Ok(exit_code(status))
}

fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

fn not_started(options: &Options, error: io::Error) -> RunError {
    let program = options.program.to_string_lossy().into_owned();
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR) => RunError::NotFound(program),
        Some(libc::EACCES | libc::ENOEXEC | libc::EISDIR | libc::ELIBBAD) => {
            RunError::NotExecutable(program, error)
        }
        _ => RunError::NotStarted(program, error),
    }
}
