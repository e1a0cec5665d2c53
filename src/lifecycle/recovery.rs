//! Operation becomes of requests that a predecessor had fetched and not answered.

use super::connection::Connection;
use crate::state::in_flight::{InFlightGuard, InFlightRequest, Operation, OrphanedRequest, Unique};
use rustix::io::{Errno, write};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// `struct fuse_out_header` of include/uapi/linux/fuse.h: length, error, number of the request.
fn header(length: usize, error: i32, unique: Unique) -> [u8; 16] {
    let mut header = [0; 16];
    header[..4].copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
    header[4..8].copy_from_slice(&error.to_ne_bytes());
    header[8..].copy_from_slice(&unique.get().to_ne_bytes());
    header
}

/// Has every one of them answered; those that servers have ended over with an error. Returns the processes that wait for
/// these. To be called before the first request is read: a request that is being answered would be given out a second time.
///
/// `threads` are going to fetch more; `body` is what a read or an open has to get; it says when it begins with that.
pub(crate) fn settle(
    connection: &Connection,
    threads: usize,
    body: impl Fn(&InFlightRequest, &Arc<InFlightGuard>, Reply),
) -> io::Result<Vec<u32>> {
    let in_flight = connection.in_flight();
    let left = in_flight.orphaned();
    // Before the kernel gives anything out again, so that a resent request is known.
    in_flight.resume(&left);
    match resend(connection.device()) {
        Ok(()) => IS_GIVEN_OUT_AGAIN.store(true, Ordering::Relaxed),
        Err(Errno::INVAL) => {
            answer(connection, &left, body)?;
            connection.keep_requests(threads)?;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(left.iter().filter(|left| left.is_poisoned()).map(|left| left.request.pid).collect())
}

/// Whether the kernel gives out again what a server leaves unanswered, as far as is known.
static IS_GIVEN_OUT_AGAIN: AtomicBool = AtomicBool::new(false);

/// Whether a successor is given what this server leaves unanswered.
pub(crate) fn is_given_out_again() -> bool {
    IS_GIVEN_OUT_AGAIN.load(Ordering::Relaxed)
}

/// `FUSE_NOTIFY_RESEND`, since Linux 6.9: fetched requests are to be fetched again, the oldest first.
fn resend(device: BorrowedFd<'_>) -> rustix::io::Result<()> {
    const FUSE_NOTIFY_RESEND: i32 = 7;
    write(device, &header(16, FUSE_NOTIFY_RESEND, Unique::new(0))).map(drop)
}

/// Tells who waits what it gets, or the errno.
pub(crate) type Reply = Box<dyn FnOnce(Result<Vec<u8>, i32>) + Send>;

/// Answers what the process before had fetched. A number that nobody waits for the kernel does not find. Reads are answered
/// by others, whose containers may be slow.
fn answer(
    connection: &Connection,
    left: &[OrphanedRequest],
    body: impl Fn(&InFlightRequest, &Arc<InFlightGuard>, Reply),
) -> io::Result<()> {
    let table = connection.in_flight();
    let mut untracked = connection.last_fetched()?;
    untracked.retain(|request| !table.has_tracked(left, request.unique));
    let device = Arc::new(connection.device().try_clone_to_owned()?);
    for request in left.iter().map(|left| left.request).chain(untracked) {
        // Until it is answered: if this process dies over it in its turn, the next sees that.
        let in_flight = Arc::new(table.track(request));
        let is_poisoned = in_flight.is_poisoned();
        // Should this process end before it has begun, it has not died of it.
        in_flight.wait_orphaned();
        let (device, until_told) = (Arc::clone(&device), Arc::clone(&in_flight));
        let tell = move |answer: Result<Vec<u8>, i32>| {
            let (error, body) = match answer {
                Ok(body) => (0, body),
                Err(errno) => (-errno, Vec::new()),
            };
            let mut message = header(16 + body.len(), error, request.unique).to_vec();
            message.extend(body);
            if let Err(error) = reply(device.as_fd(), &message) {
                log::debug!("cannot answer what the server before has left: {error}");
            }
            drop(until_told);
        };
        match request.operation {
            _ if is_poisoned => tell(Err(libc::EIO)),
            Operation::Read { .. } | Operation::Open { .. } => body(&request, &in_flight, Box::new(tell)),
            Operation::Release => tell(Ok(Vec::new())),
            // stat(2) starts again by itself. So does open(2), but once: where servers die in a row that is not enough.
            Operation::Lookup | Operation::Other => tell(Err(libc::ESTALE)),
        }
    }
    Ok(())
}

/// `FUSE_NOTIFY_POLL`: who waits by that number, on any file that is polled, is to ask again.
pub(crate) fn wake(device: BorrowedFd<'_>, waiter: u64) -> io::Result<()> {
    const FUSE_NOTIFY_POLL: i32 = 1;
    let mut message = header(24, FUSE_NOTIFY_POLL, Unique::new(0)).to_vec();
    message.extend(waiter.to_ne_bytes());
    reply(device, &message)
}

/// Answers a request that may have its answer already.
pub(crate) fn reply(device: BorrowedFd<'_>, message: &[u8]) -> io::Result<()> {
    match write(device, message) {
        Ok(_) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// The errors and texts that a kernel which gives nothing out again gets, by the requests' numbers.
    fn answers(left: &[(u64, Operation, u64, u32)]) -> Vec<(u64, i32, String)> {
        let (kernel, connection) = Connection::over_sockets();
        let left: Vec<_> = left
            .iter()
            .map(|&(unique, operation, seconds, attempts)| {
                let unique = Unique::new(unique);
                let request = InFlightRequest { unique, pid: 1, ino: 16, operation };
                OrphanedRequest { request, age: Duration::from_secs(seconds), attempts }
            })
            .collect();
        let table = connection.in_flight();
        table.resume(&left);
        let text = |request: &InFlightRequest, _: &Arc<InFlightGuard>, reply: Reply| {
            assert!(!table.is_empty(), "a successor sees that it is not answered");
            reply(Ok(format!("text of {}", request.ino).into_bytes()));
        };
        answer(&connection, &left, text).unwrap();
        assert!(table.orphaned().is_empty());
        kernel.set_nonblocking(true).unwrap();
        let mut messages = Vec::new();
        let mut message = [0; 4096];
        while let Ok(length) = kernel.recv(&mut message) {
            let word = |at: usize| i32::from_ne_bytes(message[at..at + 4].try_into().unwrap());
            let unique = u64::from_ne_bytes(message[8..16].try_into().unwrap());
            assert_eq!(usize::try_from(word(0)).unwrap(), length);
            messages.push((unique, word(4), String::from_utf8(message[16..length].to_vec()).unwrap()));
        }
        messages
    }

    #[test]
    fn each_is_answered_once_and_the_poisoned_with_an_error() {
        let read = Operation::Read { handle: 0, offset: 0, size: 4096 };
        let left = [
            (70, read, 0, 1),
            (72, read, 4, 1),
            (74, read, 0, 3),
            (76, Operation::Lookup, 0, 1),
            (78, Operation::Lookup, 4, 1),
            (80, Operation::Release, 0, 2),
            (82, Operation::Open { flags: 0 }, 0, 1),
        ];
        let answer = |unique, error: i32, text: &str| (unique, error, text.to_string());
        assert_eq!(
            answers(&left),
            [
                answer(70, 0, "text of 16"),
                answer(72, -libc::EIO, ""),
                answer(74, -libc::EIO, ""),
                answer(76, -libc::ESTALE, ""),
                answer(78, -libc::EIO, ""),
                answer(80, 0, ""),
                answer(82, 0, "text of 16"),
            ]
        );
    }
}
