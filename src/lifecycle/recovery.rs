//! Requests that a predecessor had fetched and not answered.

use super::connection::Connection;
use crate::fuse::Errno;
use crate::fuse::seams::device_messages::{reply, request_resend};
use crate::state::in_flight::{InFlightGuard, InFlightRequest, Operation, OrphanedRequest};
use cgprocfs_core::parse::pid::Pid;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

/// Passes on the answer of a request, or its errno.
pub(crate) type Reply = Box<dyn FnOnce(Result<Vec<u8>, Errno>) + Send>;

/// Has every request that a predecessor left be answered, with an error if servers have died over it. Returns
/// the processes that wait for these. To be called before the first request is read: one that is already
/// being handled would be given out a second time.
///
/// Since Linux 6.9 the kernel gives the requests out again. Before that they are answered here: `replay`
/// makes the answers of reads and opens, and says when it begins with each. `quarantine` is told of processes
/// that are going to get an error, while they still wait for it. `threads` is how many threads are going to
/// fetch requests.
///
/// # Errors
/// Where the kernel refuses, or there is no memory.
pub(crate) fn recover_in_flight(
    connection: &Connection,
    threads: usize,
    quarantine: impl Fn(Pid),
    replay: impl Fn(&InFlightRequest, &Arc<InFlightGuard>, Reply),
) -> io::Result<Vec<Pid>> {
    let in_flight = connection.in_flight();
    let left = in_flight.orphaned();
    // Before the kernel gives anything out again, so that it is recognised then.
    in_flight.resume(&left);
    let poisoned = left.iter().filter(|left| left.is_poisoned()).map(|left| left.request.pid);
    let poisoned: Vec<Pid> = poisoned.collect();
    poisoned.iter().copied().for_each(quarantine);
    if !request_resend(connection.device())? {
        answer(connection, &left, replay)?;
        connection.keep_requests(threads)?;
    }
    Ok(poisoned)
}

/// Answers what the process before had fetched. The kernel ignores an answer that nobody waits for. Reads and
/// opens are answered on other threads, because the containers that wait for them may be slow.
fn answer(
    connection: &Connection,
    left: &[OrphanedRequest],
    replay: impl Fn(&InFlightRequest, &Arc<InFlightGuard>, Reply),
) -> io::Result<()> {
    let table = connection.in_flight();
    let mut unrecorded = connection.last_fetched()?;
    unrecorded.retain(|request| !table.has_tracked(left, request.unique));
    let device = Arc::new(connection.device().try_clone_to_owned()?);
    for fetched in left.iter().map(|left| left.request).chain(unrecorded) {
        // In flight until it is answered: if this process dies over it in its turn, the next one sees that.
        let in_flight = Arc::new(table.track(fetched));
        let is_poisoned = in_flight.is_poisoned();
        // If this process ends before it has begun with the request, it has not died of it.
        in_flight.wait_orphaned();
        let (device, until_answered) = (Arc::clone(&device), Arc::clone(&in_flight));
        let pass_on = move |answer| {
            if let Err(error) = reply(device.as_fd(), fetched.unique, answer) {
                log::debug!("cannot answer what the server before has left: {error}");
            }
            drop(until_answered);
        };
        match fetched.operation {
            _ if is_poisoned => pass_on(Err(Errno::EIO)),
            Operation::Read { .. } | Operation::Open { .. } => {
                replay(&fetched, &in_flight, Box::new(pass_on))
            }
            Operation::Release => pass_on(Ok(Vec::new())),
            // stat(2) retries by itself. open(2) does so once, which is not enough where several servers die
            // in a row.
            Operation::Lookup | Operation::Other => pass_on(Err(Errno::ESTALE)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::OpenFile;
    use crate::state::in_flight::{Ino, Unique};
    use std::time::Duration;

    /// The number, error and text of each answer that a kernel gets which gives nothing out again.
    fn answers(left: &[(u64, Operation, u64, u32)]) -> Vec<(u64, i32, String)> {
        let (kernel, connection) = Connection::over_sockets();
        let left: Vec<_> = left
            .iter()
            .map(|&(unique, operation, seconds, attempts)| {
                let fetched = InFlightRequest {
                    unique: Unique::new(unique),
                    pid: Pid::new(1),
                    ino: Ino::new(16),
                    operation,
                };
                OrphanedRequest { request: fetched, age: Duration::from_secs(seconds), attempts }
            })
            .collect();
        let table = connection.in_flight();
        table.resume(&left);
        let text = |fetched: &InFlightRequest, _: &Arc<InFlightGuard>, reply: Reply| {
            assert!(!table.is_empty(), "a successor sees that it is not answered");
            reply(Ok(format!("text of {}", fetched.ino.get()).into_bytes()));
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
        let read = Operation::Read { file: OpenFile::new(0), offset: 0, size: 4096 };
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
                answer(72, -Errno::EIO.code(), ""),
                answer(74, -Errno::EIO.code(), ""),
                answer(76, -Errno::ESTALE.code(), ""),
                answer(78, -Errno::EIO.code(), ""),
                answer(80, 0, ""),
                answer(82, 0, "text of 16"),
            ]
        );
    }
}
