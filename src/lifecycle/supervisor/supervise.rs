//! The life of a supervisor: one child after the other.

use super::child::{self, Running};
use super::event::{Event, SupervisorError};
use super::kept_mount::KeptMount;
use super::listening::listen;
use super::restarts::{Next, Restarts};
use super::waiting::{Woken, wait};
use crate::lifecycle::control::{self, Message};
use crate::mount::Lock;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{Receiver, Sender};

/// Runs the daemon until it ends in order, and gives each new one what the last had stored here. Returns an
/// exit code: that of the first daemon, if that ends by itself before it has served.
///
/// SIGHUP and SIGUSR1 have the daemon replaced, by the program that is at its path by then. SIGUSR2 does
/// nothing, other signals end it. `command` is told whether it starts the first daemon; without `lock` that
/// one takes the connection over.
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
        mount: KeptMount::new(directory, lock),
        has_ended: false,
        restarts: Restarts::default(),
    };
    let code = supervisor.run(command, events, sender)?;
    supervisor.has_ended = true;
    supervisor.mount.tidy();
    Ok(code)
}

struct Supervisor<'d> {
    mount: KeptMount<'d>,
    restarts: Restarts,
    /// Whether nothing of ours is left to be unmounted.
    has_ended: bool,
}

impl Supervisor<'_> {
    fn run(
        &mut self,
        command: impl Fn(bool) -> Command,
        events: &Receiver<Event>,
        sender: &Sender<Event>,
    ) -> Result<u8, SupervisorError> {
        for number in 0.. {
            let is_first = !self.mount.has_served();
            let next = match child::start(command(is_first), number, sender) {
                Ok(child) => self.attend(number, child, events),
                Err(error) if is_first => return Err(error),
                Err(error) => {
                    log::error!("{error}; trying again");
                    self.restarts.after_failed_start()
                }
            };
            let woken = match next {
                Next::End(code) => return Ok(code),
                Next::Restart(pause) => wait(pause, events),
                Next::FallBack(pause) => {
                    self.mount.fall_back(false);
                    match wait(pause, events) {
                        Woken::ByTime => self.mount.wait_for_room(events),
                        woken => woken,
                    }
                }
            };
            if woken == Woken::ToEnd {
                break;
            }
        }
        self.mount.fall_back(true);
        Ok(0)
    }

    /// Gives a child the connection, and listens to it until it is gone.
    fn attend(&mut self, number: usize, mut child: Running, events: &Receiver<Event>) -> Next {
        match self.mount.connection() {
            // A child that is dead already shows below.
            Some(connection) => drop(control::send_connection(&child.socket, connection)),
            None => drop(control::send(&child.socket, &Message::Nothing)),
        }
        let answered_before = self.mount.answered();
        let heard = listen(number, &child, events, &mut self.mount);
        // If somebody has SIGCHLD ignored it can't be waited for. It is gone all the same.
        let status = child.process.wait();
        // One whose connection was given up under it takes that for an unmount.
        if heard.ended && !heard.was_unkept {
            // It may have been killed before it was done.
            self.mount.finish();
            return Next::End(0);
        }
        if heard.told_to_end {
            self.mount.fall_back(true);
            return Next::End(0);
        }
        let code = status.as_ref().ok().and_then(ExitStatus::code);
        if let (false, Some(code)) = (self.mount.has_served(), code) {
            // It has said why, and nobody has anything to lose.
            return Next::End(u8::try_from(code).unwrap_or(1));
        }
        if self.mount.is_aborted() {
            return self.restarts.after_abort();
        }
        // One that dies of its first request has not served either.
        let died_of_it = self.mount.has_unanswered() && self.mount.answered() == answered_before;
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        self.restarts.after_end(&status, heard.served && !died_of_it && !heard.was_unkept)
    }
}

impl Drop for Supervisor<'_> {
    /// Leaves containers with files that can be read, whatever has ended the supervisor.
    fn drop(&mut self) {
        if !self.has_ended {
            self.mount.fall_back(false);
        }
    }
}
