//! Who keeps the connection while nobody serves it, so that readers wait instead of failing.

use super::connection::Connection;
use super::control::{self, Message};
use crate::sys;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::pipe::PipeFlags;
use sd_notify::NotifyState;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// A process that outlives this one.
pub enum FdStore {
    /// There is none: the mount ends with this process.
    Nobody,
    /// systemd, in the unit's descriptor store.
    ServiceManager,
    /// The parent.
    Supervisor(UnixStream),
}

/// Names in systemd's descriptor store.
const DEVICE: &str = "cgprocfs-device";
const MEMORY: &str = "cgprocfs-memory";

impl FdStore {
    /// The supervisor that started this process with a socket for its stdin.
    ///
    /// # Errors
    /// Where stdin can't be duplicated.
    pub fn supervisor() -> io::Result<Self> {
        let stdin = io::stdin().as_fd().try_clone_to_owned()?;
        Ok(Self::Supervisor(stdin.into()))
    }

    /// For a message.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::ServiceManager => "systemd's descriptor store",
            Self::Supervisor(_) => "the supervisor",
        }
    }

    /// Operation it has kept of the process before this one. To be called once.
    ///
    /// # Errors
    /// Where it can't be asked.
    pub fn take(&self) -> io::Result<Option<(OwnedFd, OwnedFd)>> {
        match self {
            Self::Nobody => Ok(None),
            Self::ServiceManager => stored(),
            Self::Supervisor(socket) => match control::receive(socket)? {
                Message::Connection(device, memory) => Ok(Some((device, memory))),
                _ => Ok(None),
            },
        }
    }

    /// Whether it keeps the connection already. To have systemd keep it once more, what it keeps would have to be removed
    /// first, and who dies in between would take the connection along.
    #[must_use]
    pub fn has_given(&self, connection: &Connection) -> bool {
        matches!(self, Self::ServiceManager) && connection.generation() > 0
    }

    /// Has it keep the connection.
    ///
    /// # Errors
    /// Where it can't be reached.
    pub fn keep(&self, connection: &Connection) -> io::Result<()> {
        match self {
            Self::Nobody => Ok(()),
            Self::ServiceManager => {
                // The device last: where that is, the memory is too.
                for (name, descriptor) in [(MEMORY, connection.memory()), (DEVICE, connection.device())] {
                    // Of two under one name it would be open which is this connection's.
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

    /// How often it wants to hear that this process serves, if at all.
    #[must_use]
    pub fn interval(&self) -> Option<Duration> {
        match self {
            Self::Nobody => None,
            Self::ServiceManager => sd_notify::watchdog_enabled().map(|limit| limit / 4),
            Self::Supervisor(_) => Some(Duration::from_secs(1)),
        }
    }

    /// Tells it that this process serves.
    pub fn feed(&self) {
        let told = match self {
            Self::Nobody => Ok(()),
            Self::ServiceManager => sd_notify::notify(&[NotifyState::Watchdog]),
            Self::Supervisor(socket) => control::send(socket, &Message::Alive),
        };
        if let Err(error) = told {
            log::debug!("nobody hears that this daemon serves: {error}");
        }
    }

    /// Whether it has ended, so that nobody succeeds this process and nobody keeps the connection.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        let Self::Supervisor(socket) = self else { return false };
        let mut polled = [PollFd::new(socket.as_fd(), PollFlags::empty())];
        let hung_up = |events: PollFlags| events.contains(PollFlags::POLLHUP);
        poll(&mut polled, PollTimeout::ZERO).is_ok() && polled[0].revents().is_some_and(hung_up)
    }

    /// Tells it that nothing is to be kept any more.
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

/// Waits until systemd has read all that it was sent: of a process that is gone it can't tell to which unit that
/// belonged (`sd_notify_barrier`(3)).
fn barrier() -> io::Result<()> {
    let (ours, theirs) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    sd_notify::notify_with_fds(&[NotifyState::Custom("BARRIER=1")], &[theirs.as_fd()])?;
    drop(theirs);
    let mut closed = [PollFd::new(ours.as_fd(), PollFlags::empty())];
    match poll(&mut closed, PollTimeout::from(5000_u16))? {
        0 => Err(io::ErrorKind::TimedOut.into()),
        _ => Ok(()),
    }
}

/// Operation systemd has passed on of the unit's store (`sd_listen_fds_with_names`(3)).
fn stored() -> io::Result<Option<(OwnedFd, OwnedFd)>> {
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
