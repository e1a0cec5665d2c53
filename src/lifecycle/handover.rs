//! Hands a live connection to another process through a Unix socket beside the mount point.
//!
//! The other process asks for it, is sent it, and says that it has arrived. It serves as soon as this one has
//! ended. All before that end happens while this process serves on, so that a peer that says nothing delays
//! nobody.

use super::connection::{Connection, ConnectionError};
use super::control::{self, Message};
use crate::mount::Anchors;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::Mode;
use rustix::process::umask;
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long either side waits for a message from the other.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why no connection was handed over.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    #[error("no daemon answers at {0}: {1}")]
    Unreachable(PathBuf, io::Error),
    #[error("the daemon at {0} does not hand over: {1}")]
    Refused(PathBuf, io::Error),
    #[error("others than root may write to {0}, and may listen in the daemon's place")]
    OpenToOthers(PathBuf),
    #[error("not root, but user {1} listens at {0}")]
    NotRoot(PathBuf, u32),
    #[error("what is handed over at {0} is not what is mounted on {1}")]
    OtherMount(PathBuf, PathBuf),
    #[error("cannot resume the connection: {0}")]
    Connection(#[from] ConnectionError),
}

/// The socket on which the daemon of a mount point listens.
#[must_use]
pub fn socket_path(mount_point: &Path) -> PathBuf {
    let mut path = mount_point.as_os_str().to_owned();
    path.push(".sock");
    path.into()
}

/// Listens for a successor. Only root can connect.
///
/// # Errors
/// The error that the kernel returns.
pub fn listen(mount_point: &Path) -> io::Result<UnixListener> {
    let path = socket_path(mount_point);
    // A predecessor has left it, and nobody listens there any more.
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let before = umask(Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(&path);
    umask(before);
    listener
}

/// Gives the connection to a process that asks for it. If this succeeds, that process serves as soon as this
/// one has ended.
///
/// # Errors
/// Where the other process does not ask, or does not take it.
pub fn offer(to: &UnixStream, connection: &Connection) -> io::Result<()> {
    to.set_read_timeout(Some(MESSAGE_TIMEOUT))?;
    to.set_write_timeout(Some(MESSAGE_TIMEOUT))?;
    expect(to, &Message::Ask)?;
    control::send_connection(to, connection)?;
    expect(to, &Message::Taken)
}

fn expect(from: &UnixStream, message: &Message) -> io::Result<()> {
    let received = control::receive(from)?;
    if std::mem::discriminant(&received) == std::mem::discriminant(message) {
        return Ok(());
    }
    Err(io::ErrorKind::InvalidData.into())
}

/// Whether a process that was given the connection is still there to serve it.
#[must_use]
pub fn is_there(successor: &UnixStream) -> bool {
    poll(&mut [PollFd::new(successor, PollFlags::IN)], Some(&Timespec::default())) == Ok(0)
}

/// Whether root asks (`SO_PEERCRED`, unix(7)).
#[must_use]
pub fn is_from_root(asking: &UnixStream) -> bool {
    rustix::net::sockopt::socket_peercred(asking).is_ok_and(|peer| peer.uid.is_root())
}

/// Asks the daemon of a directory, given by its real path, for its connection, and returns when that daemon
/// has ended.
///
/// # Errors
/// [`HandoverError`]; the other daemon goes on serving then.
pub fn request(directory: &Path) -> Result<Connection, HandoverError> {
    let path = socket_path(directory);
    let socket =
        UnixStream::connect(&path).map_err(|error| HandoverError::Unreachable(path.clone(), error))?;
    refuse_open_to_others(directory)?;
    let refused = |error: io::Error| HandoverError::Refused(path.clone(), error);
    let peer = rustix::net::sockopt::socket_peercred(&socket).map_err(|error| refused(error.into()))?;
    if !peer.uid.is_root() {
        return Err(HandoverError::NotRoot(path, peer.uid.as_raw()));
    }
    socket.set_read_timeout(Some(MESSAGE_TIMEOUT)).map_err(refused)?;
    control::send(&socket, &Message::Ask).map_err(refused)?;
    let Message::Connection(device, memory) = control::receive(&socket).map_err(refused)? else {
        return Err(refused(io::ErrorKind::InvalidData.into()));
    };
    let connection = Connection::look(device, memory)?;
    if !is_mounted_in(&connection, directory) {
        return Err(HandoverError::OtherMount(path, directory.to_path_buf()));
    }
    connection.resume_here()?;
    control::send(&socket, &Message::Taken).map_err(refused)?;
    match control::receive(&socket) {
        // Only now can the kernel be asked for what the other had fetched last.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(connection),
        Err(error) => Err(refused(error)),
        Ok(_) => Err(refused(io::ErrorKind::InvalidData.into())),
    }
}

/// Refuses a directory beside which others than root may put a socket, or which they may replace by another.
/// So what is mounted and unmounted by its path later is what was looked at.
fn refuse_open_to_others(directory: &Path) -> Result<(), HandoverError> {
    for (distance, above) in directory.ancestors().skip(1).enumerate() {
        let is_open = fs::symlink_metadata(above).map_or(true, |metadata| {
            // Only its owner and the file's can remove a file from a sticky directory.
            let is_sticky = metadata.mode() & 0o1000 != 0 && distance > 0;
            metadata.uid() != 0 || (metadata.mode() & 0o022 != 0 && !is_sticky)
        });
        if is_open {
            return Err(HandoverError::OpenToOthers(above.to_path_buf()));
        }
    }
    Ok(())
}

/// Whether a connection is that of the mount among the anchors in a directory. The connection's memory says
/// whatever the sender wanted it to say, but newer kernels (6.18 for one) say in fdinfo which connection a
/// device belongs to.
fn is_mounted_in(connection: &Connection, directory: &Path) -> bool {
    let Some(anchors) = Anchors::at(directory) else { return false };
    let number = fs::read_to_string(format!("/proc/self/fdinfo/{}", connection.device().as_raw_fd()));
    let number = number.unwrap_or_default();
    let number = number.lines().find_map(|line| line.strip_prefix("fuse_connection:"));
    connection.mount_point() == anchors.live()
        && anchors.device().is_some_and(|device| {
            number.is_none_or(|number| device.rsplit(':').next() == Some(number.trim()))
        })
}
