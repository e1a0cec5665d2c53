//! Messages between processes that serve or keep one connection: a tag of one byte, and with one of them the
//! connection itself.

use super::connection::Connection;
use crate::descriptors;
use rustix::net::SendFlags;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// A message from one process to another.
#[derive(Debug)]
pub enum Message {
    /// The sender asks for the connection, to take it over.
    Ask,
    /// There is no connection yet.
    Nothing,
    /// The connection: its device, and the memory that belongs to it.
    Connection(OwnedFd, OwnedFd),
    /// The sender has got the connection, and is going to serve it.
    Taken,
    /// The sender still serves.
    Alive,
    /// The sender has unmounted, or handed the connection over, so that it needs no successor.
    Ended,
}

const ASK: u8 = b'Q';
const NOTHING: u8 = b'N';
const CONNECTION: u8 = b'C';
const TAKEN: u8 = b'T';
const ALIVE: u8 = b'A';
const ENDED: u8 = b'E';

/// Sends the tag of a message, with the descriptors that go with it.
fn send_tag(to: &UnixStream, tag: u8, with: &[BorrowedFd<'_>]) -> io::Result<()> {
    descriptors::send(to, &[tag], with, SendFlags::empty())
}

/// Sends the connection.
///
/// # Errors
/// Where the other side is gone.
pub fn send_connection(to: &UnixStream, connection: &Connection) -> io::Result<()> {
    send_tag(to, CONNECTION, &[connection.device(), connection.memory()])
}

/// Sends a message.
///
/// # Errors
/// Where the other side is gone.
pub fn send(to: &UnixStream, message: &Message) -> io::Result<()> {
    use std::os::fd::AsFd;
    match message {
        Message::Ask => send_tag(to, ASK, &[]),
        Message::Nothing => send_tag(to, NOTHING, &[]),
        Message::Connection(device, memory) => send_tag(to, CONNECTION, &[device.as_fd(), memory.as_fd()]),
        Message::Taken => send_tag(to, TAKEN, &[]),
        Message::Alive => send_tag(to, ALIVE, &[]),
        Message::Ended => send_tag(to, ENDED, &[]),
    }
}

/// Receives the next message.
///
/// # Errors
/// `UnexpectedEof` once the other side is gone; `Unsupported` for a message that this version does not know;
/// `InvalidData` for a connection without its descriptors, as where this process may open no more.
pub fn receive(from: &UnixStream) -> io::Result<Message> {
    let mut tag = [0];
    let (length, received) = descriptors::receive(from, &mut tag)?;
    if length == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut received = received.into_iter();
    match tag[0] {
        ASK => Ok(Message::Ask),
        NOTHING => Ok(Message::Nothing),
        TAKEN => Ok(Message::Taken),
        ALIVE => Ok(Message::Alive),
        ENDED => Ok(Message::Ended),
        CONNECTION => match (received.next(), received.next()) {
            (Some(device), Some(memory)) => Ok(Message::Connection(device, memory)),
            _ => Err(io::ErrorKind::InvalidData.into()),
        },
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Write};

    #[test]
    fn messages_arrive_in_order_with_their_descriptors() {
        let (a, b) = UnixStream::pair().unwrap();
        let open = || OwnedFd::from(tempfile::tempfile().unwrap());
        send(&a, &Message::Alive).unwrap();
        send(&a, &Message::Connection(File::open("/proc/self/comm").unwrap().into(), open())).unwrap();
        send(&a, &Message::Ended).unwrap();
        drop(a);
        assert!(matches!(receive(&b), Ok(Message::Alive)));
        let Ok(Message::Connection(device, _)) = receive(&b) else { panic!("no connection") };
        let mut text = String::new();
        File::from(device).read_to_string(&mut text).unwrap();
        assert!(!text.is_empty());
        assert!(matches!(receive(&b), Ok(Message::Ended)));
        assert_eq!(receive(&b).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_connection_without_descriptors_is_none() {
        let (mut a, b) = UnixStream::pair().unwrap();
        a.write_all(b"C?").unwrap();
        assert_eq!(receive(&b).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(receive(&b).unwrap_err().kind(), io::ErrorKind::Unsupported);
    }
}
