//! `cgprocfs status`: whether a daemon serves, and who has its files.

use super::failure::Failure;
use super::inspected_mount::InspectedMount;
use crate::diagnosis::binding::Binding;
use crate::diagnosis::status::{MountStatus, State};
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

/// Say whether the daemon serves, since when, and which containers have its files
///
/// The exit code is 0 if it serves, and 1 if not.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    inspected: InspectedMount,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let status = arguments.inspected.status()?;
    arguments.inspected.print(&status, in_words)?;
    Ok(if status.state == State::Serving { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn in_words(status: &MountStatus) -> String {
    let mut text = String::new();
    // Writing to a string never fails.
    let mut line = |key: &str, value: String| {
        let _ = writeln!(text, "{key:<12} {value}");
    };
    let state = match status.state {
        State::Serving => "serving",
        State::Waiting => "waiting: readers wait for a daemon",
        State::Lost => "lost: the connection is over",
        State::Stopped => "stopped: containers have the kernel's own files",
        State::Absent => "absent: nothing is there",
    };
    line("state", format!("{state}, in {}", status.directory.display()));
    if let Some(tree) = &status.tree {
        line("tree", format!("{}, as of lxcfs", tree.display()));
    }
    if let Some(service) = &status.service {
        let since = humantime::format_duration(Duration::from_secs(service.serving_seconds));
        let at = status.since.as_deref().unwrap_or("?");
        line("daemon", format!("version {}, process {}, since {at} ({since})", service.version, service.pid));
        let keeper = service.kept_by.as_deref().unwrap_or("nobody");
        line("connection", format!("kept by {keeper}, restarted {} times", service.restarts));
        line(
            "options",
            format!(
                "--cpu-view={}{}",
                service.cpu_view,
                if status.takes_triggers { " --triggers" } else { "" }
            ),
        );
        let rate = status.requests_per_second.map_or_else(|| "?".into(), |rate| format!("{rate:.0}"));
        line("requests", format!("{rate} a second, {} in all", service.requests));
        line("triggers", service.triggers.to_string());
        let slow = if service.slow.is_empty() { "none".into() } else { service.slow.join(", ") };
        line("slow", slow);
    }
    if status.state != State::Absent {
        line("views", if status.views.is_empty() { "none".into() } else { status.views.join(" ") });
        line("depth", format!("{} mounts on a file, of {}", status.depth, status.max_depth));
    }
    match &status.bindings {
        None => line("containers", "cannot be told: procfs cannot be listed".into()),
        Some(bindings) => {
            let having: Vec<_> =
                bindings.namespaces.iter().filter(|binding| !binding.files.is_empty()).collect();
            line("containers", having.len().to_string());
            for binding in having {
                line("", of_container(binding));
            }
            for pid in &bindings.unread {
                line("", format!("process {pid}: cannot be told, its mount table is too large"));
            }
            if !bindings.is_complete {
                line("", "and others: there are too many mounts to look at all of them".into());
            }
        }
    }
    text
}

fn of_container(binding: &Binding) -> String {
    let lost = binding.files.iter().filter(|file| file.is_lost).count();
    let stay = binding.files.iter().filter(|file| !file.follows && !file.is_lost).count();
    let name = |path: &str| path.trim_start_matches("/proc/").to_string();
    let names: Vec<_> = binding.files.iter().map(|file| name(&file.path)).collect();
    let mut words = vec![format!("{}: {}", binding.shown(), names.join(" "))];
    if stay > 0 {
        words.push(format!("{stay} without slave propagation"));
    }
    if lost > 0 {
        words.push(format!("{lost} dead"));
    }
    words.join(", ")
}
