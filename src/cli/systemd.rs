//! What systemd knows of a unit, asked by systemctl(1).

use std::process::Command;

/// Where `--help` lists what only a systemd unit has a use for.
pub(super) const HELP_HEADING: &str = "Used by the systemd unit";

/// Whether the unit's descriptor store holds a connection: the device and its memory. systemd drops the
/// device as soon as that is aborted.
///
/// To ask the mount itself would be to wait for a server, of which there is none when this is asked.
pub(super) fn keeps_connection(unit: &str) -> bool {
    let stored = ask(&["show", "--value", "--property", "NFileDescriptorStore", unit]);
    stored.and_then(|text| text.trim().parse::<u32>().ok()).is_some_and(|stored| stored >= 2)
}

/// Whether there is a job to stop the unit. A restart is another kind of job, and none is for a daemon that
/// ended by itself.
///
/// Where systemd can't be asked, none is there that would start anything again.
pub(super) fn stops(unit: &str) -> bool {
    let Some(jobs) = ask(&["list-jobs", "--no-legend", "--plain", "--full", unit]) else { return true };
    // Number, unit, type, state.
    let mut jobs = jobs.lines().map(|line| line.split_whitespace().skip(1).take(2));
    jobs.any(|mut job| job.next() == Some(unit) && job.next() == Some("stop"))
}

/// Whether systemd calls this because the unit's server has failed.
pub(super) fn has_failed() -> bool {
    std::env::var_os("SERVICE_RESULT").is_some_and(|result| result != "success")
}

fn ask(arguments: &[&str]) -> Option<String> {
    let answer = Command::new("systemctl").args(arguments).output().ok()?;
    answer.status.success().then(|| String::from_utf8_lossy(&answer.stdout).into_owned())
}
