//! `cgprocfs attach` and `cgprocfs detach`: containers that run already.

use super::failure::Failure;
use super::root::require_root;
use super::views::ViewsArgument;
use crate::containers::attach::{self, AttachError, Done, Report};
use crate::containers::bind::{Bind, DIRECTORY};
use crate::containers::inventory::{self, RunningContainer};
use cgprocfs_core::parse::pid::Pid;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Lay the files over the kernel's in containers that run already
///
/// What a container has already stays as it is. A program that has read its memory size at its start, as a
/// JVM or node does, keeps what it has read.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    which: Which,
    /// Where the daemon mounts
    #[arg(long, default_value = DIRECTORY)]
    directory: PathBuf,
    #[command(flatten)]
    views: ViewsArgument,
}

/// Take the files away from containers that run
#[derive(clap::Args)]
pub(super) struct DetachArguments {
    #[command(flatten)]
    which: Which,
}

#[derive(clap::Args)]
#[group(required = true)]
struct Which {
    /// A process id, or the name or id of a container of docker, podman, containerd, LXC or nspawn
    containers: Vec<String>,
    /// Every container of this host
    #[arg(long, conflicts_with = "containers")]
    all: bool,
}

/// How long a container may take: one of its processes may be in the middle of an exec, which makes whoever
/// looks at it wait.
const ATTACH_TIMEOUT: Duration = Duration::from_secs(5);

/// Programs that read their memory and their processors when they start, and never again.
const SIZED_AT_START: [&str; 5] = ["java", "node", "dotnet", "beam.smp", "mysqld"];

/// Processes of runtimes whose containers have a kernel, and a meminfo, of their own.
const OF_OWN_KERNELS: [(&str, &str); 6] = [
    ("runsc-sandbox", "gVisor"),
    ("runsc-gofer", "gVisor"),
    ("qemu-system-x86", "Kata"),
    ("cloud-hyperviso", "Kata"),
    ("firecracker", "Kata"),
    ("virtiofsd", "Kata"),
];

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let binds = Bind::all(&arguments.views.get());
    let are_chosen = arguments.views.value().is_some();
    let directory = arguments.directory.clone();
    for_each(&arguments.which, "attached", move |container| {
        // Of what has no runtime that is known, an application is likelier than an init.
        let is_system = ["lxc", "nspawn"].contains(&container.name.runtime);
        let wanted = |bind: &Bind| are_chosen || is_system || !bind.is_for_systems_only();
        let binds: Vec<Bind> = binds.iter().copied().filter(wanted).collect();
        attach::attach(container.pids[0], &directory, &binds)
    })
}

pub(super) fn run_detach(arguments: &DetachArguments) -> Result<ExitCode, Failure> {
    let binds = Bind::all(&cgprocfs_core::view::ViewId::ALL);
    for_each(&arguments.which, "detached", move |container| attach::detach(container.pids[0], &binds))
}

/// Does something with each container that is meant, and says what came of it in a line each.
fn for_each(
    which: &Which,
    done: &str,
    work: impl Fn(&RunningContainer) -> Result<Report, AttachError> + Send + Clone + 'static,
) -> Result<ExitCode, Failure> {
    require_root("enter a container's mount namespace")?;
    let mut failed = false;
    for (shown, container) in meant(which)? {
        let line = match kernel_of_its_own(&container) {
            Some(runtime) => {
                format!("left alone: {runtime} has a kernel of its own there, with its own meminfo")
            }
            None => match in_time(container.clone(), work.clone()) {
                Ok(report) => {
                    failed |= report.iter().any(|(_, done)| matches!(done, Done::Failed(_)));
                    let has_changed = report.iter().any(|(_, done)| *done == Done::Changed);
                    summary(&report, done) + &sized_already(&container, has_changed && done == "attached")
                }
                Err(AttachError::NoNamespace(_)) => "left alone: it has no mount namespace of its own".into(),
                Err(error) => {
                    failed = true;
                    match error {
                        AttachError::NoAnchors(_) => {
                            format!("{error}; start the daemon, or name its directory by --directory")
                        }
                        error => error.to_string(),
                    }
                }
            },
        };
        println!("{shown}: {line}");
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The containers that are meant, each with what it is called.
fn meant(which: &Which) -> Result<Vec<(String, RunningContainer)>, Failure> {
    let running = inventory::running().map_err(|e| {
        Failure::Other(format!("cannot find the containers of this host: {e}; name a process id"))
    })?;
    let shown = |container: &RunningContainer| match &container.alias {
        Some(alias) => format!("{} ({alias})", container.name),
        None => container.name.to_string(),
    };
    if which.all {
        return Ok(running.into_iter().map(|container| (shown(&container), container)).collect());
    }
    let mut meant = Vec::new();
    for word in &which.containers {
        let found = running.iter().find(|container| container.is_called(word));
        // Some call containers by numbers.
        if let (None, Ok(pid)) = (found, word.parse::<Pid>()) {
            let name = crate::containers::name::ContainerName { runtime: "process", id: word.clone() };
            meant.push((format!("process {pid}"), RunningContainer { name, alias: None, pids: vec![pid] }));
            continue;
        }
        let container = found.ok_or_else(|| {
            Failure::Other(format!(
                "no container {word:?} runs here; `--all` says which do, or name a process id"
            ))
        })?;
        meant.push((shown(container), container.clone()));
    }
    Ok(meant)
}

/// Works for a container on a thread that is left behind if it hangs.
fn in_time(
    container: RunningContainer,
    work: impl Fn(&RunningContainer) -> Result<Report, AttachError> + Send + 'static,
) -> Result<Report, AttachError> {
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new()
        .name("container".into())
        .spawn(move || drop(sender.send(work(&container))))
        .map_err(|error| AttachError::System("start a thread", error))?;
    let late = |_| AttachError::System("look at it within five seconds", std::io::ErrorKind::TimedOut.into());
    receiver.recv_timeout(ATTACH_TIMEOUT).map_err(late)?
}

/// What was done, in a few words.
fn summary(report: &Report, done: &str) -> String {
    let count = |wanted: &Done| report.iter().filter(|(_, done)| done == wanted).count();
    let mut words = vec![format!("{} files {done}", count(&Done::Changed))];
    if done == "attached" && count(&Done::Unchanged) > 0 {
        words.push(format!("{} were there", count(&Done::Unchanged)));
    }
    for (name, done) in report {
        match done {
            Done::Other(fs_type) => words.push(format!("{name} is another's ({fs_type})")),
            Done::Failed(error) => words.push(format!("{name} failed: {error}")),
            Done::Changed | Done::Unchanged | Done::Missing => {}
        }
    }
    words.join(", ")
}

/// The runtime whose container has a kernel of its own.
fn kernel_of_its_own(container: &RunningContainer) -> Option<&'static str> {
    let of = |name: String| OF_OWN_KERNELS.into_iter().find(|(known, _)| *known == name);
    // gVisor starts itself by another path, and calls itself so.
    let names = |pid: &Pid| [comm(*pid), called(*pid)].into_iter().flatten();
    container.pids.iter().flat_map(names).find_map(|name| Some(of(name)?.1))
}

/// Which programs there do not notice.
fn sized_already(container: &RunningContainer, has_changed: bool) -> String {
    // Some give their first thread a name of its own.
    let sized = |pid: &Pid| {
        let mut names = [comm(*pid), program(*pid)].into_iter().flatten();
        Some((*pid, names.find(|name| SIZED_AT_START.contains(&&**name))?))
    };
    let sized: Vec<_> = container.pids.iter().filter_map(sized).collect();
    let shown: Vec<_> = sized.iter().map(|(pid, comm)| format!("{comm} ({pid})")).collect();
    match has_changed && !shown.is_empty() {
        true => format!(
            "; started with the host's sizes, which it keeps until it is started again: {}",
            shown.join(", ")
        ),
        false => String::new(),
    }
}

/// What a process was called when it was started.
fn called(pid: Pid) -> Option<String> {
    let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
    Some(command.split('\0').next()?.rsplit('/').next()?.to_string())
}

/// The file name of the program that a process runs.
fn program(pid: Pid) -> Option<String> {
    let program = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    Some(program.file_name()?.to_str()?.to_string())
}

fn comm(pid: Pid) -> Option<String> {
    Some(fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim_end().to_string())
}
