//! Where the connection is stored while nobody serves it, so that readers wait instead of failing.

use super::connection::Connection;
use super::control::{self, Message};
use crate::sys;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::PipeFlags;
use sd_notify::NotifyState;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// A process that outlives this one, and keeps the connection for its successor.
pub enum FdStore {
    /// No process: the mount ends with this one.
    Nobody,
    /// systemd, which keeps it in the unit's descriptor store.
    ServiceManager,
    /// The parent process, at the other end of a socket.
    Supervisor(UnixStream),
}

/// How long systemd may take to read what it was sent.
const BARRIER_TIMEOUT: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };
/// How often a supervisor hears from its child.
const SUPERVISOR_INTERVAL: Duration = Duration::from_secs(1);

/// The device's name in systemd's descriptor store.
const DEVICE: &str = "cgprocfs-device";
/// The memory's name in systemd's descriptor store.
const MEMORY: &str = "cgprocfs-memory";

impl FdStore {
    /// The supervisor, which has started this process with a socket for its stdin.
    ///
    /// # Errors
    /// Where stdin can't be duplicated.
    pub fn supervisor() -> io::Result<Self> {
        let stdin = io::stdin().as_fd().try_clone_to_owned()?;
        Ok(Self::Supervisor(stdin.into()))
    }

    /// The name of one that outlives this process.
    #[must_use]
    pub fn keeper(&self) -> Option<&'static str> {
        (!matches!(self, Self::Nobody)).then(|| self.name())
    }

    /// The name for a message.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::ServiceManager => "systemd's descriptor store",
            Self::Supervisor(_) => "the supervisor",
        }
    }

    /// Takes out the device and the memory that the process before this one had stored. To be called once.
    ///
    /// # Errors
    /// Where it can't be asked.
    pub fn restore(&self) -> io::Result<Option<(OwnedFd, OwnedFd)>> {
        match self {
            Self::Nobody => Ok(None),
            Self::ServiceManager => restore_from_systemd(),
            Self::Supervisor(socket) => match control::receive(socket)? {
                Message::Connection(device, memory) => Ok(Some((device, memory))),
                _ => Ok(None),
            },
        }
    }

    /// Whether the connection is stored already. systemd would have to remove it before it could store it
    /// once more, and a process that dies in between would take the connection along.
    #[must_use]
    pub fn is_stored(&self, connection: &Connection) -> bool {
        matches!(self, Self::ServiceManager) && connection.generation() > 0
    }

    /// Stores the connection.
    ///
    /// # Errors
    /// Where it can't be reached.
    pub fn store(&self, connection: &Connection) -> io::Result<()> {
        match self {
            Self::Nobody => Ok(()),
            Self::ServiceManager => {
                // The device last, so that with a device there is always its memory.
                for (name, descriptor) in [(MEMORY, connection.memory()), (DEVICE, connection.device())] {
                    // Of two under one name nobody could say which is this connection's.
                    sd_notify::notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)])?;
                    sd_notify::notify_with_fds(
                        &[NotifyState::FdStore, NotifyState::FdName(name)],
                        &[descriptor],
                    )?;
                }
                barrier()
            }
            Self::Supervisor(socket) => control::send_connection(socket, connection),
        }
    }

    /// How often it wants to hear that this process serves; `None` if it does not.
    #[must_use]
    pub fn watchdog_interval(&self) -> Option<Duration> {
        match self {
            Self::Nobody => None,
            Self::ServiceManager => sd_notify::watchdog_enabled().map(|limit| limit / 4),
            Self::Supervisor(_) => Some(SUPERVISOR_INTERVAL),
        }
    }

    /// Tells it that this process still serves.
    pub fn ping_watchdog(&self) {
        let told = match self {
            Self::Nobody => Ok(()),
            Self::ServiceManager => sd_notify::notify(&[NotifyState::Watchdog]),
            Self::Supervisor(socket) => control::send(socket, &Message::Alive),
        };
        if let Err(error) = told {
            log::debug!("nobody hears that this daemon serves: {error}");
        }
    }

    /// Whether the supervisor has ended, so that this process has no successor and nobody keeps the
    /// connection.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        let Self::Supervisor(socket) = self else { return false };
        let mut polled = [PollFd::new(socket, PollFlags::empty())];
        poll(&mut polled, Some(&Timespec::default())).is_ok() && polled[0].revents().contains(PollFlags::HUP)
    }

    /// Removes the connection, which needs to be kept no longer.
    pub fn release(&self) {
        match self {
            Self::Nobody => {}
            Self::ServiceManager => {
                for name in [DEVICE, MEMORY] {
                    let _ = sd_notify::notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)]);
                }
            }
            Self::Supervisor(socket) => drop(control::send(socket, &Message::Ended)),
        }
    }
}

/// Waits until systemd has read everything that it was sent. It can't tell which unit a process belonged to
/// that is gone by then (`sd_notify_barrier`(3)).
fn barrier() -> io::Result<()> {
    let (ours, theirs) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    sd_notify::notify_with_fds(&[NotifyState::Custom("BARRIER=1")], &[theirs.as_fd()])?;
    drop(theirs);
    let mut closed = [PollFd::new(&ours, PollFlags::empty())];
    match poll(&mut closed, Some(&BARRIER_TIMEOUT))? {
        0 => Err(io::ErrorKind::TimedOut.into()),
        _ => Ok(()),
    }
}

/// The descriptors that systemd has passed on from the unit's store (`sd_listen_fds_with_names`(3)).
fn restore_from_systemd() -> io::Result<Option<(OwnedFd, OwnedFd)>> {
    let (mut device, mut memory) = (None, None);
    for (owned, name) in sys::passed_descriptors()? {
        match name.as_str() {
            DEVICE => device = Some(owned),
            MEMORY => memory = Some(owned),
            _ => {}
        }
    }
    Ok(device.zip(memory))
}
