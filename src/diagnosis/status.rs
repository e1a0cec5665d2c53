//! Whether a daemon serves, and what it says of itself.

use super::binding::{self, Binding};
use crate::mount::{Anchors, MAX_DEPTH, Writes};
use crate::service::{STATUS_FILE, ServiceStatus};
use serde::Serialize;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// How long the daemon may take to answer.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Over how long requests are counted.
const COUNTED: Duration = Duration::from_millis(500);

/// Whether somebody serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Readers get answers.
    Serving,
    /// The connection is kept, and readers wait for a daemon.
    Waiting,
    /// The connection is over: what is still bound says so to its readers.
    Lost,
    /// There are anchors, with the kernel's own files on them.
    Stopped,
    /// There is nothing.
    Absent,
}

/// What can be told of a mount.
#[derive(Debug, Clone, Serialize)]
pub struct MountStatus {
    /// The directory of the anchors.
    pub directory: PathBuf,
    /// Whether somebody serves.
    pub state: State,
    /// What the daemon says of itself, if it serves.
    pub service: Option<ServiceStatus>,
    /// Who keeps the connection while no daemon serves it.
    pub kept_by: Option<String>,
    /// How many requests it answers in a second, whatever they are.
    pub requests_per_second: Option<f64>,
    /// The views that are laid at the anchors; at the others are the kernel's own files.
    pub views: Vec<String>,
    /// Whether the mount takes triggers.
    pub takes_triggers: bool,
    /// How many mounts lie on one file.
    pub depth: usize,
    /// How many may.
    pub max_depth: usize,
    /// Who has bound files, where that can be told.
    pub bindings: Option<Vec<Binding>>,
}

impl MountStatus {
    /// Looks at the anchors in a directory, and asks the daemon if there is one.
    #[must_use]
    pub fn of(directory: &Path) -> Self {
        let anchors = Anchors::at(directory);
        let first =
            anchors.as_ref().filter(|anchors| anchors.is_mounted()).map(|anchors| ask(anchors.live()));
        let state = match (&anchors, &first) {
            (None, _) => State::Absent,
            (Some(_), None) => State::Stopped,
            (_, Some(Ok(_))) => State::Serving,
            (_, Some(Err(error))) if error.kind() == io::ErrorKind::TimedOut => State::Waiting,
            (_, Some(Err(error))) if is_over(error) => State::Lost,
            // It answers, but not this question: it is older, or this is not root.
            _ => State::Serving,
        };
        let first = first.and_then(Result::ok);
        let rate = first.as_ref().zip(anchors.as_ref()).and_then(|(first, anchors)| {
            let since = Instant::now();
            thread::sleep(COUNTED);
            let then = ask(anchors.live()).ok()?;
            // One of them is ours.
            let requests = then.requests.saturating_sub(first.requests).saturating_sub(3);
            Some(f64::from(u32::try_from(requests).unwrap_or(u32::MAX)) / since.elapsed().as_secs_f64())
        });
        Self {
            directory: directory.to_path_buf(),
            state,
            kept_by: first.as_ref().and_then(|service| keeper(service.pid)),
            service: first,
            requests_per_second: rate,
            views: anchors.as_ref().map(Anchors::laid_views).unwrap_or_default(),
            takes_triggers: anchors.as_ref().and_then(Anchors::writes) == Some(Writes::Triggers),
            depth: anchors.as_ref().map_or(0, Anchors::depth),
            max_depth: MAX_DEPTH,
            bindings: binding::all().ok(),
        }
    }
}

/// Has the daemon asked on a thread that is left behind if nobody answers.
fn ask(live: PathBuf) -> io::Result<ServiceStatus> {
    let (sender, answer) = mpsc::channel();
    let read = move || {
        let text = fs::read(live.join(STATUS_FILE));
        let status = text.and_then(|text| serde_json::from_slice(&text).map_err(io::Error::other));
        // Nobody waits for a late answer.
        let _ = sender.send(status);
    };
    thread::Builder::new().name("status".into()).spawn(read)?;
    answer.recv_timeout(TIMEOUT).unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn is_over(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::NOTCONN | Errno::CONNABORTED))
}

/// Who has started a daemon, which keeps its connection.
fn keeper(pid: u32) -> Option<String> {
    let parent = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse::<u32>().ok())
    };
    let parent = parent(pid)?;
    let command = fs::read(format!("/proc/{parent}/cmdline")).ok()?;
    let words: Vec<&[u8]> = command.split(|&byte| byte == 0).collect();
    if words.contains(&b"--supervise".as_slice())
        || words.first().is_some_and(|word| word.ends_with(b"lxcfs"))
    {
        return Some(format!("the supervisor (process {parent})"));
    }
    (parent == 1).then(|| "systemd".to_string())
}
