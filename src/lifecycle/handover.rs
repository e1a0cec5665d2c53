//! Hands a live connection to another process through a Unix socket beside the mount point.
//!
//! Whoever wants it asks, is sent it, and says that it has arrived; it serves as soon as the other has ended. All but that
//! end goes on beside the serving, so that a peer that says nothing costs nobody anything.

use super::connection::{Connection, ConnectionError};
use super::control::{self, Message};
use crate::mount::Anchors;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{Mode, umask};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long either side waits for the other.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why no connection was handed over.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
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

/// Where the daemon of a mount point listens.
#[must_use]
pub fn socket_path(mount_point: &Path) -> PathBuf {
    let mut path = mount_point.as_os_str().to_owned();
    path.push(".sock");
    path.into()
}

/// Listens for a successor. Only root can connect.
///
/// # Errors
/// The kernel's.
pub fn listen(mount_point: &Path) -> io::Result<UnixListener> {
    let path = socket_path(mount_point);
    // A predecessor's, which leads nowhere any more.
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let before = umask(Mode::from_bits_truncate(0o177));
    let listener = UnixListener::bind(&path);
    umask(before);
    listener
}

/// Gives the connection to whoever asks for it. Once this has succeeded another process serves it, as soon as this one ends.
///
/// # Errors
/// Where whoever has connected does not ask, or does not take it.
pub fn offer(to: &UnixStream, connection: &Connection) -> io::Result<()> {
    to.set_read_timeout(Some(PATIENCE))?;
    to.set_write_timeout(Some(PATIENCE))?;
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

/// Whether somebody who was given the connection is still there to serve it.
#[must_use]
pub fn is_there(successor: &UnixStream) -> bool {
    let mut polled = [PollFd::new(successor.as_fd(), PollFlags::POLLIN)];
    poll(&mut polled, PollTimeout::ZERO) == Ok(0)
}

/// Whether root asks (`SO_PEERCRED`, unix(7)).
#[must_use]
pub fn is_from_root(asking: &UnixStream) -> bool {
    rustix::net::sockopt::socket_peercred(asking).is_ok_and(|peer| peer.uid.is_root())
}

/// Asks the daemon of a directory, given by its real path, for its connection, and returns when that daemon has ended.
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
    socket.set_read_timeout(Some(PATIENCE)).map_err(refused)?;
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
        // Operation it had fetched last can be asked for again only now.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(connection),
        Err(error) => Err(refused(error)),
        Ok(_) => Err(refused(io::ErrorKind::InvalidData.into())),
    }
}

/// Refuses a directory beside which others than root may put a socket, or that others may put another in the place of. Operation
/// is mounted and unmounted by its path is what was looked at then.
fn refuse_open_to_others(directory: &Path) -> Result<(), HandoverError> {
    for (distance, above) in directory.ancestors().skip(1).enumerate() {
        let is_open = fs::symlink_metadata(above).map_or(true, |metadata| {
            // From a directory that is sticky only its owner and that of the file can remove a file.
            let is_sticky = metadata.mode() & 0o1000 != 0 && distance > 0;
            metadata.uid() != 0 || (metadata.mode() & 0o022 != 0 && !is_sticky)
        });
        if is_open {
            return Err(HandoverError::OpenToOthers(above.to_path_buf()));
        }
    }
    Ok(())
}

/// Whether a connection is that of the mount among the anchors in a directory. Its memory says what the sender wanted it
/// to; newer kernels (6.18 for one) say in fdinfo which connection a device belongs to.
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
