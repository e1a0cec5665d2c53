//! A parent that does nothing but keep the connection, and start its child again when that ends.

use crate::session::passing::{self, Message};
use crate::session::{Anchors, Connection, unmount};
use nix::sys::signal::Signal;
use rustix::process::{Pid, kill_process};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// A child that says nothing for so long is stuck.
const SILENCE: Duration = Duration::from_secs(10);
/// So many ends in so short a time are too many.
const MOST_ENDS: usize = 100;
const WITHIN: Duration = Duration::from_secs(10);
/// So many children one after the other that never came to serve are too many.
const MOST_FAILURES: usize = 5;

/// What the supervisor waits for.
pub enum Event {
    /// Somebody wants something.
    Signal(Signal),
    /// From the child of that number, counted from 0; an error is its last.
    Child(usize, io::Result<Message>),
}

/// Why there is no child any more.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum SupervisorError {
    #[error("cannot start {0}: {1}; check that the program is still there")]
    Start(String, io::Error),
    #[error("the daemon ends again and again, last with {0}; its log says why")]
    CrashLoop(ExitStatus),
    #[error("cannot wait for the daemon: {0}; start cgprocfs again")]
    Wait(io::Error),
}

/// Runs the daemon until it ends in order, with what is kept for it.
///
/// SIGHUP has it replaced, by the program that is at its path by then. SIGTERM and SIGINT end it.
///
/// # Errors
/// Where it can't be started, or does not stay; nothing is mounted then.
pub fn supervise(
    directory: &Path,
    command: impl Fn() -> Command,
    events: &Receiver<Event>,
    sender: &Sender<Event>,
) -> Result<(), SupervisorError> {
    let mut kept: Option<Connection> = None;
    let mut ends = VecDeque::new();
    let mut failures = 0;
    for number in 0.. {
        let (mut child, socket) = start(command(), number, sender)?;
        match &kept {
            // A child that is dead already shows below.
            Some(connection) => drop(passing::send_connection(&socket, connection)),
            None => drop(passing::send(&socket, &Message::Nothing)),
        }
        let before = answered(kept.as_ref());
        let heard = attend(number, &child, events, &mut kept);
        let status = child.wait().map_err(SupervisorError::Wait)?;
        if heard.ended {
            return Ok(());
        }
        if heard.wanted {
            drop(kept);
            let_go(directory);
            return Ok(());
        }
        // One that dies of its first request has not served either.
        let died_of_it = kept.as_ref().is_some_and(|connection| !connection.journal().fetched().is_empty())
            && answered(kept.as_ref()) == before;
        failures = if heard.served && !died_of_it { 0 } else { failures + 1 };
        log::warn!("the daemon ended with {status}; starting it again");
        let now = Instant::now();
        ends.push_back(now);
        ends.retain(|end| now.duration_since(*end) < WITHIN);
        if ends.len() >= MOST_ENDS || failures >= MOST_FAILURES {
            // Whoever waits for an answer gets an error now, and nobody waits any more.
            drop(kept);
            let_go(directory);
            return Err(SupervisorError::CrashLoop(status));
        }
    }
    Ok(())
}

fn answered(connection: Option<&Connection>) -> u64 {
    connection.map_or(0, |connection| connection.journal().answered())
}

/// Containers get the kernel's own files.
fn let_go(directory: &Path) {
    let done = match Anchors::at(directory) {
        Some(anchors) => anchors.fall_back().and(anchors.abort()),
        None => unmount(directory),
    };
    if let Err(error) = done {
        log::error!("cannot unmount {0}: {error}; run `cgprocfs unmount {0}`", directory.display());
    }
}

fn start(
    mut command: Command,
    number: usize,
    sender: &Sender<Event>,
) -> Result<(Child, UnixStream), SupervisorError> {
    let failed = |command: &Command, error| {
        SupervisorError::Start(command.get_program().to_string_lossy().into_owned(), error)
    };
    let (ours, theirs) = UnixStream::pair().map_err(|e| failed(&command, e))?;
    let listening = ours.try_clone().map_err(|e| failed(&command, e))?;
    let child = command.stdin(OwnedFd::from(theirs)).spawn().map_err(|e| failed(&command, e))?;
    let sender = sender.clone();
    let listen = move || loop {
        let message = passing::receive(&listening);
        let is_last = message.is_err();
        if sender.send(Event::Child(number, message)).is_err() || is_last {
            break;
        }
    };
    thread::Builder::new().name("child".into()).spawn(listen).map_err(|e| failed(&command, e))?;
    Ok((child, ours))
}

/// What a child said of itself.
#[derive(Default)]
struct Heard {
    served: bool,
    ended: bool,
    /// Whether its end was asked for. It may have had the signal before it, too, and have left the mount to another.
    wanted: bool,
}

/// Listens to a child until it is gone.
fn attend(number: usize, child: &Child, events: &Receiver<Event>, kept: &mut Option<Connection>) -> Heard {
    let signal = |signal| {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may be gone already.
            let _ = kill_process(pid, signal);
        }
    };
    let mut said = Heard::default();
    let mut heard = Instant::now();
    loop {
        match events.recv_timeout(SILENCE.saturating_sub(heard.elapsed())) {
            Err(RecvTimeoutError::Disconnected) => return said,
            Err(RecvTimeoutError::Timeout) => {
                log::error!("no sign of life from the daemon for {} s: killing it", SILENCE.as_secs());
                signal(rustix::process::Signal::KILL);
                heard = Instant::now();
            }
            Ok(Event::Signal(Signal::SIGHUP)) => signal(rustix::process::Signal::TERM),
            Ok(Event::Signal(_)) => {
                said.wanted = true;
                signal(rustix::process::Signal::INT);
            }
            Ok(Event::Child(from, _)) if from != number => {}
            Ok(Event::Child(_, message)) => {
                heard = Instant::now();
                match message {
                    // A successor sends what it was given.
                    Ok(Message::Connection(_, memory))
                        if kept.as_ref().is_some_and(|kept| kept.has_memory(memory.as_fd())) => {}
                    Ok(Message::Connection(device, memory)) => match Connection::look(device, memory) {
                        Ok(connection) => *kept = Some(connection),
                        Err(error) => log::error!("cannot keep the connection: {error}"),
                    },
                    Ok(Message::Ended) => said.ended = true,
                    Ok(Message::Alive) => said.served = true,
                    Ok(Message::Nothing | Message::Taken) => {}
                    Err(_) => return said,
                }
            }
        }
    }
}
