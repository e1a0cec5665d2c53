//! Whether a daemon serves, and what it says of itself.

use super::binding::Bindings;
use crate::mount::{Anchors, MAX_DEPTH, Writes};
use crate::service::{STATUS_FILE, ServiceStatus};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::statfs;
use rustix::io::Errno;
use serde::Serialize;
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// The hidden command by which a daemon is asked.
pub const COMMAND: &str = "print-status";

/// How long the daemon may take to answer.
const STATUS_TIMEOUT: Duration = Duration::from_secs(1);
/// Over how long requests are counted.
const RATE_WINDOW: Duration = Duration::from_millis(500);

/// How many requests it takes to ask: one for statfs(2), an open, two reads, a release.
const OWN_REQUESTS: u64 = 5;

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
    /// Where the file system is mounted as a whole, too, as users of lxcfs have it.
    pub tree: Option<PathBuf>,
    /// Whether somebody serves.
    pub state: State,
    /// What the daemon says of itself, if it serves.
    pub service: Option<ServiceStatus>,
    /// Since when that daemon has served, as in 2026-11-26T10:00:00Z.
    pub since: Option<String>,
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
    pub bindings: Option<Bindings>,
}

impl MountStatus {
    /// Whether somebody answers at a mount point.
    #[must_use]
    pub fn is_answered(live: &Path) -> bool {
        matches!(ask(live), Answer::Status(_) | Answer::NoStatus)
    }

    /// Looks at the anchors in a directory, and asks the daemon if there is one.
    #[must_use]
    pub fn of(directory: &Path) -> Self {
        let given = std::path::absolute(directory).unwrap_or_else(|_| directory.to_path_buf());
        let directory = &*given.components().collect::<PathBuf>();
        let anchors = Anchors::at(directory).or_else(|| Anchors::of_tree(directory));
        let directory = anchors.as_ref().map_or(directory, Anchors::directory);
        let answer =
            anchors.as_ref().filter(|anchors| anchors.is_mounted()).map(|anchors| ask(&anchors.live()));
        let state = match (&anchors, &answer) {
            (None, _) => State::Absent,
            (Some(_), None) => State::Stopped,
            (_, Some(Answer::Status(_) | Answer::NoStatus)) => State::Serving,
            (_, Some(Answer::None)) => State::Waiting,
            (_, Some(Answer::Over)) => State::Lost,
        };
        let first = answer.and_then(Answer::status);
        let rate = first.as_ref().zip(anchors.as_ref()).and_then(|(first, anchors)| {
            let since = Instant::now();
            thread::sleep(RATE_WINDOW);
            let then = ask(&anchors.live()).status()?;
            let requests = then.requests.saturating_sub(first.requests).saturating_sub(OWN_REQUESTS);
            Some(f64::from(u32::try_from(requests).unwrap_or(u32::MAX)) / since.elapsed().as_secs_f64())
        });
        Self {
            directory: directory.to_path_buf(),
            tree: anchors.as_ref().and_then(Anchors::tree),
            state,
            since: first.as_ref().map(since),
            service: first,
            requests_per_second: rate,
            views: anchors.as_ref().map(Anchors::laid_views).unwrap_or_default(),
            takes_triggers: anchors.as_ref().and_then(Anchors::writes) == Some(Writes::Triggers),
            depth: anchors.as_ref().map_or(0, Anchors::depth),
            max_depth: MAX_DEPTH,
            bindings: Bindings::of_host().ok(),
        }
    }
}

/// What came of asking a daemon how it is.
enum Answer {
    Status(ServiceStatus),
    /// It answers, but not this in time: it is an older one, or has much to do.
    NoStatus,
    /// It does not answer.
    None,
    /// There is no connection.
    Over,
}

impl Answer {
    fn status(self) -> Option<ServiceStatus> {
        if let Self::Status(status) = self { Some(status) } else { None }
    }
}

/// Has the daemon asked by a process that is left behind if nobody answers. A thread of this one would keep
/// it from ending: what waits for an answer to a request that was fetched can't be killed.
fn ask(live: &Path) -> Answer {
    let asking = Command::new("/proc/self/exe")
        .arg0("cgprocfs")
        .arg(COMMAND)
        .arg(live)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut asking) = asking else { return Answer::None };
    let text = asking.stdout.take().and_then(|stdout| read_in_time(stdout).ok());
    let (text, is_whole) = text.unwrap_or_default();
    if !is_whole {
        // As far as it can be.
        let _ = asking.kill();
        return if text.is_empty() { Answer::None } else { Answer::NoStatus };
    }
    let ended = asking.wait().ok().and_then(|status| status.code());
    match serde_json::from_slice(&text) {
        Ok(status) => Answer::Status(status),
        Err(_) if !text.is_empty() => Answer::NoStatus,
        Err(_) if ended.is_some_and(is_over) => Answer::Over,
        Err(_) => Answer::None,
    }
}

/// What is read until the end of the pipe, or of the time; and whether it was the former.
fn read_in_time(mut pipe: impl Read + AsFd) -> io::Result<(Vec<u8>, bool)> {
    let deadline = Instant::now() + STATUS_TIMEOUT;
    let (mut text, mut part) = (Vec::new(), [0; 4096]);
    loop {
        let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now())).ok();
        if poll(&mut [PollFd::new(&pipe, PollFlags::IN)], left.as_ref())? == 0 {
            return Ok((text, false));
        }
        match pipe.read(&mut part)? {
            0 => return Ok((text, true)),
            length => text.extend_from_slice(&part[..length]),
        }
    }
}

/// The whole life of such a process: prints a line as soon as it is answered, then the status. Returns what
/// it exits with, which is the errno if it can't.
#[must_use]
pub fn print(live: &Path) -> u8 {
    let print = || -> io::Result<()> {
        statfs(live)?;
        let mut stdout = io::stdout().lock();
        stdout.write_all(b"\n")?;
        stdout.flush()?;
        stdout.write_all(&fs::read(live.join(STATUS_FILE))?)
    };
    let errno = |error: io::Error| error.raw_os_error().and_then(|errno| u8::try_from(errno).ok());
    print().map_or_else(|error| errno(error).unwrap_or(u8::MAX), |()| 0)
}

fn is_over(errno: i32) -> bool {
    [Errno::NOTCONN, Errno::CONNABORTED].iter().any(|over| over.raw_os_error() == errno)
}

fn since(service: &ServiceStatus) -> String {
    let since = SystemTime::now() - Duration::from_secs(service.serving_seconds);
    humantime::format_rfc3339_seconds(since).to_string()
}
