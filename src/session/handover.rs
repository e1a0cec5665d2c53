//! Hands a live connection to another process through a Unix socket beside the mount point.

use super::connection::{Connection, ConnectionError};
use super::passing::{self, Message};
use nix::sys::stat::{Mode, umask};
use std::fs;
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long either side waits for the other.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why no connection was handed over.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum HandoverError {
    #[error("no daemon answers at {0}: {1}; start one without --takeover")]
    Unreachable(PathBuf, io::Error),
    #[error("the daemon at {0} does not hand over: {1}; its log may say why")]
    Refused(PathBuf, io::Error),
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

/// Gives the connection away. Once this has succeeded another process serves it, as soon as this one ends.
///
/// # Errors
/// Where whoever asks is not root, or does not take it.
pub fn offer(to: &UnixStream, connection: &Connection) -> io::Result<()> {
    to.set_read_timeout(Some(PATIENCE))?;
    to.set_write_timeout(Some(PATIENCE))?;
    passing::send_connection(to, connection)?;
    match passing::receive(to)? {
        Message::Taken => Ok(()),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Whether root asks (`SO_PEERCRED`, unix(7)).
#[must_use]
pub fn is_from_root(asking: &UnixStream) -> bool {
    rustix::net::sockopt::socket_peercred(asking).is_ok_and(|peer| peer.uid.is_root())
}

/// Asks the daemon of a mount point for its connection, and returns when that daemon has ended.
///
/// # Errors
/// [`HandoverError`]; the other daemon goes on serving then.
pub fn request(mount_point: &Path) -> Result<Connection, HandoverError> {
    let path = socket_path(mount_point);
    let socket =
        UnixStream::connect(&path).map_err(|error| HandoverError::Unreachable(path.clone(), error))?;
    let refused = |error| HandoverError::Refused(path.clone(), error);
    socket.set_read_timeout(Some(PATIENCE)).map_err(refused)?;
    let Message::Connection(device, memory) = passing::receive(&socket).map_err(refused)? else {
        return Err(refused(io::ErrorKind::InvalidData.into()));
    };
    let connection = Connection::resume(device, memory)?;
    passing::send(&socket, &Message::Taken).map_err(refused)?;
    match passing::receive(&socket) {
        // What it had fetched last can be asked for again only now.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(connection),
        Err(error) => Err(refused(error)),
        Ok(_) => Err(refused(io::ErrorKind::InvalidData.into())),
    }
}
