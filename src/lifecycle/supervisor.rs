//! A parent that does nothing but keep the connection, and start its child again when that ends.
//!
//! Nothing but a signal, or an operator who unmounts, ends it. Where a daemon can't be kept running, or somebody aborts
//! the connection again and again, containers get the kernel's own files meanwhile, and nobody waits.

mod child;
mod event;
mod pause;

pub use self::event::{Event, SupervisorError};

use self::child::Running;
use self::pause::Pauses;
use super::connection::Connection;
use super::control::{self, Message};
use super::daemon::DEEP;
use crate::mount::{Anchors, Lock};
use nix::sys::signal::Signal;
use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

/// A child that says nothing for so long is stuck.
const SILENCE: Duration = Duration::from_secs(10);
/// So many ends in so short a time are too many.
const MOST_ENDS: usize = 100;
const WITHIN: Duration = Duration::from_secs(10);
/// So many children one after the other that never came to serve are too many.
const MOST_FAILURES: u32 = 5;
/// How long readers wait before the first other attempt to start a child, and so much longer before each that follows.
const START_AGAIN: Duration = Duration::from_millis(100);
/// How long containers have the kernel's own files, at least, after too many ends.
const RESPITE: Duration = Duration::from_secs(1);
/// How often to look whether somebody has removed what was too many mounts.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// Runs the daemon until it ends in order, with what is kept for it. Returns an exit code: that of the first daemon, if
/// that ends by itself before it has served.
///
/// SIGHUP and SIGUSR1 have it replaced, by the program that is at its path by then. SIGUSR2 does nothing, other signals end
/// it. `command` is told whether it starts the first daemon; without `lock` that takes the connection over.
///
/// # Errors
/// Where the first one can't be started; nothing is mounted then.
pub fn supervise(
    directory: &Path,
    lock: Option<Lock>,
    command: impl Fn(bool) -> Command,
    events: &Receiver<Event>,
    sender: &Sender<Event>,
) -> Result<u8, SupervisorError> {
    let mut supervisor = Supervisor {
        directory,
        are_anchors_new: lock.is_some() && Anchors::at(directory).is_none(),
        lock,
        kept: None,
        has_kept: false,
        has_ended: false,
        failures: 0,
        ends: VecDeque::new(),
        pauses: Pauses::default(),
    };
    supervisor.pass_lock_on();
    let code = supervisor.run(command, events, sender)?;
    supervisor.has_ended = true;
    supervisor.tidy();
    Ok(code)
}

struct Supervisor<'d> {
    directory: &'d Path,
    /// Whether there were none before.
    are_anchors_new: bool,
    /// `None` until a connection has been taken over.
    lock: Option<Lock>,
    kept: Option<Connection>,
    /// Whether there ever was a connection: what is mounted is ours then.
    has_kept: bool,
    /// Whether nothing of ours is left to be unmounted.
    has_ended: bool,
    /// How many children in a row never came to serve.
    failures: u32,
    ends: VecDeque<Instant>,
    pauses: Pauses,
}

/// Operation an end means.
enum Next {
    /// Another child is started after so long. Readers wait.
    Again(Duration),
    /// The same, but until then containers have the kernel's own files.
    LetGo(Duration),
    /// There is nothing more to do.
    End(u8),
}

/// Operation ended a pause.
#[derive(PartialEq, Eq)]
enum Woken {
    ByTime,
    /// Somebody wants another child now.
    ByReload,
    ToEnd,
}

impl Supervisor<'_> {
    fn run(
        &mut self,
        command: impl Fn(bool) -> Command,
        events: &Receiver<Event>,
        sender: &Sender<Event>,
    ) -> Result<u8, SupervisorError> {
        for number in 0.. {
            let next = match child::start(command(!self.has_kept), number, sender) {
                Ok(child) => self.serve_with(number, child, events),
                Err(error) if !self.has_kept => return Err(error),
                Err(error) => {
                    log::error!("{error}; trying again");
                    self.failures += 1;
                    self.unless_too_many("it cannot be started", START_AGAIN * self.failures)
                }
            };
            let woken = match next {
                Next::End(code) => return Ok(code),
                Next::Again(pause) => pause_for(pause, events),
                Next::LetGo(pause) => {
                    self.let_go(false);
                    match pause_for(pause, events) {
                        Woken::ByTime => self.wait_for_room(events),
                        woken => woken,
                    }
                }
            };
            if woken == Woken::ToEnd {
                break;
            }
        }
        self.let_go(true);
        Ok(0)
    }

    /// Until a child is gone.
    fn serve_with(&mut self, number: usize, mut child: Running, events: &Receiver<Event>) -> Next {
        match &self.kept {
            // A child that is dead already shows below.
            Some(connection) => drop(control::send_connection(&child.socket, connection)),
            None => drop(control::send(&child.socket, &Message::Nothing)),
        }
        let before = self.answered();
        let heard = self.attend(number, &child, events);
        // It can't be waited for where somebody has SIGCHLD ignored. It is gone all the same.
        let status = child.process.wait();
        if heard.ended {
            // It may have been killed before it was done.
            self.kept = None;
            if Anchors::at(self.directory).is_some_and(|anchors| anchors.is_mounted() && anchors.is_lost()) {
                self.let_go(true);
            }
            return Next::End(0);
        }
        if heard.wanted {
            self.let_go(true);
            return Next::End(0);
        }
        if !self.has_kept
            && let Some(code) = status.as_ref().ok().and_then(ExitStatus::code)
        {
            // It has said why, and nobody has anything to lose.
            return Next::End(u8::try_from(code).unwrap_or(1));
        }
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        if self.kept.as_ref().is_some_and(|kept| kept.is_aborted().unwrap_or(true)) {
            let pause = self.pauses.next();
            log::warn!(
                "the connection was aborted by somebody else, with `umount --force` perhaps; mounting anew after {} s",
                pause.as_secs()
            );
            return Next::LetGo(pause);
        }
        // One that dies of its first request has not served either.
        let died_of_it = self.kept.as_ref().is_some_and(|kept| !kept.journal().fetched().is_empty())
            && self.answered() == before;
        self.failures = if heard.served && !died_of_it { 0 } else { self.failures + 1 };
        log::warn!("the daemon ended with {status}; starting it again");
        self.unless_too_many(&status, Duration::ZERO)
    }

    /// Starts another child after a pause, unless there were too many.
    fn unless_too_many(&mut self, status: &str, pause: Duration) -> Next {
        let now = Instant::now();
        self.ends.push_back(now);
        self.ends.retain(|end| now.duration_since(*end) < WITHIN);
        if self.ends.len() < MOST_ENDS && self.failures < MOST_FAILURES {
            return Next::Again(pause);
        }
        self.ends.clear();
        self.failures = 0;
        let pause = self.pauses.next().max(RESPITE);
        log::error!(
            "the daemon ends again and again, last with {status}; its log says why. Containers have the kernel's own \
             files; mounting anew after {} s, or on SIGHUP",
            pause.as_secs()
        );
        Next::LetGo(pause)
    }

    fn answered(&self) -> u64 {
        self.kept.as_ref().map_or(0, |connection| connection.journal().answered())
    }

    /// Containers get the kernel's own files, and whoever waits for an answer an error. Operation somebody else serves is not
    /// touched. Operation was laid is taken away for good if nobody has bound it, and this `is_the_end`.
    fn let_go(&mut self, is_the_end: bool) {
        // Not before there are other files.
        let _kept = self.kept.take();
        let Some(anchors) = Anchors::at(self.directory) else { return };
        let is_ours = self.has_kept || (self.lock.is_some() && anchors.is_mounted() && anchors.is_lost());
        if is_ours {
            let views = anchors.views();
            let fallen_back = anchors.fall_back();
            let is_free = is_the_end && fallen_back.is_ok() && !anchors.are_bound();
            let taken = if is_free { anchors.take_away(&views) } else { Ok(()) };
            if let Err(error) = fallen_back.and(taken).and(anchors.let_go()) {
                log::error!(
                    "cannot unmount {0}: {error}; run `cgprocfs unmount {0}`",
                    self.directory.display()
                );
            }
        }
    }

    /// Operation was mounted anew after a loss is not known to be new by the daemon that ends.
    fn tidy(&self) {
        let anchors =
            Anchors::at(self.directory).filter(|anchors| self.are_anchors_new && !anchors.is_mounted());
        if let Some(anchors) = anchors
            && !anchors.are_bound()
            && let Err(error) = anchors.remove()
        {
            log::warn!("cannot remove the anchors in {}: {error}", self.directory.display());
        }
    }

    /// Whoever makes the connection be lost again and again can't fill the table of mounts: containers keep the kernel's own
    /// files once there are too many.
    fn wait_for_room(&self, events: &Receiver<Event>) -> Woken {
        let mut was_said = false;
        loop {
            let Some(anchors) = Anchors::at(self.directory) else { return Woken::ByTime };
            let depth = anchors.depth();
            if depth < DEEP {
                return Woken::ByTime;
            }
            if !anchors.are_bound() {
                match anchors.remove() {
                    Ok(()) => return Woken::ByTime,
                    Err(error) => log::warn!("cannot remove the anchors: {error}"),
                }
            }
            if !was_said {
                was_said = true;
                log::error!(
                    "{depth} mounts lie on one file in {0}, two for each connection that was lost: containers keep the \
                     kernel's own files until those that bind it have ended or `cgprocfs unmount --anchors {0}` was run. \
                     SIGHUP mounts all the same",
                    self.directory.display()
                );
            }
            match pause_for(LOOK_AGAIN, events) {
                Woken::ByTime => {}
                woken => return woken,
            }
        }
    }

    /// Listens to a child until it is gone.
    fn attend(&mut self, number: usize, child: &Running, events: &Receiver<Event>) -> Heard {
        let mut said = Heard::default();
        let mut heard = Instant::now();
        loop {
            crate::failpoint::panic_point();
            match events.recv_timeout(SILENCE.saturating_sub(heard.elapsed())) {
                Err(RecvTimeoutError::Disconnected) => return said,
                Err(RecvTimeoutError::Timeout) => {
                    log::error!("no sign of life from the daemon for {} s: killing it", SILENCE.as_secs());
                    child.signal(rustix::process::Signal::KILL);
                    heard = Instant::now();
                }
                Ok(Event::Signal(Signal::SIGHUP | Signal::SIGUSR1)) => {
                    child.signal(rustix::process::Signal::TERM);
                }
                Ok(Event::Signal(Signal::SIGUSR2)) => {}
                Ok(Event::Signal(_)) => {
                    said.wanted = true;
                    child.signal(rustix::process::Signal::INT);
                }
                Ok(Event::Child(from, _)) if from != number => {}
                Ok(Event::Child(_, message)) => {
                    heard = Instant::now();
                    match message {
                        // A successor sends what it was given.
                        Ok(Message::Connection(_, memory))
                            if self.kept.as_ref().is_some_and(|kept| kept.has_memory(memory.as_fd())) => {}
                        Ok(Message::Connection(device, memory)) => match Connection::look(device, memory) {
                            Ok(connection) => self.keep(connection),
                            Err(error) => log::error!("cannot keep the connection: {error}"),
                        },
                        Ok(Message::Ended) => said.ended = true,
                        Ok(Message::Alive) => said.served = true,
                        Ok(Message::Ask | Message::Nothing | Message::Taken) => {}
                        Err(_) => return said,
                    }
                }
            }
        }
    }

    fn keep(&mut self, connection: Connection) {
        self.kept = Some(connection);
        self.has_kept = true;
        if self.lock.is_none() {
            match Lock::take_after_predecessor(self.directory) {
                Ok(lock) => self.lock = Some(lock),
                Err(error) => log::warn!("cannot lock {}: {error}", self.directory.display()),
            }
            self.pass_lock_on();
        }
    }

    /// A child that outlives this process is served still.
    fn pass_lock_on(&self) {
        if let Some(Err(error)) = self.lock.as_ref().map(Lock::pass_on) {
            log::warn!("cannot pass the lock on: {error}");
        }
    }
}

impl Drop for Supervisor<'_> {
    /// Whatever ends it.
    fn drop(&mut self) {
        if !self.has_ended {
            self.let_go(false);
        }
    }
}

/// Operation a child said of itself.
#[derive(Default)]
struct Heard {
    served: bool,
    ended: bool,
    /// Whether its end was asked for. It may have had the signal before it, too, and have left the mount to another.
    wanted: bool,
}

/// Waits without a child.
fn pause_for(pause: Duration, events: &Receiver<Event>) -> Woken {
    let end = Instant::now() + pause;
    loop {
        match events.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Err(_) => return Woken::ByTime,
            Ok(Event::Child(..) | Event::Signal(Signal::SIGUSR2)) => {}
            Ok(Event::Signal(Signal::SIGHUP | Signal::SIGUSR1)) => return Woken::ByReload,
            Ok(Event::Signal(_)) => return Woken::ToEnd,
        }
    }
}
