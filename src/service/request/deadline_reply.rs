//! Replies with a deadline.

use crate::error::Error;
use crate::service::scheduling::dispatcher::Job;
use crate::service::scheduling::owner::Owner;
use crate::service::scheduling::pending_request::Deadline;
use crate::state::in_flight::InFlightGuard;
use parking_lot::Mutex;
use rustix::io::Errno;
use std::sync::Arc;

/// Passes an answer to the reader.
pub(in crate::service) type Reply<T> = Box<dyn FnOnce(Result<T, Error>) + Send>;

/// A reply that is sent once: the answer, or EAGAIN where that does not come in time or at all. The request
/// is in flight until then.
pub(in crate::service) struct DeadlineReply<T>(Arc<State<T>>);

struct State<T> {
    pending: Mutex<Option<PendingReply<T>>>,
    deadline: Deadline,
}

struct PendingReply<T> {
    reply: Reply<T>,
    in_flight: InFlightGuard,
}

impl<T: Send + 'static> DeadlineReply<T> {
    /// A reply, and the job to run at the deadline.
    pub(in crate::service) fn new(owner: &Owner, in_flight: InFlightGuard, reply: Reply<T>) -> (Self, Job) {
        in_flight.wait(owner);
        let pending = Mutex::new(Some(PendingReply { reply, in_flight }));
        let state = Arc::new(State { pending, deadline: Deadline::default() });
        let late = Arc::clone(&state);
        (Self(state), Box::new(move || late.send(Err(Error::Errno(Errno::AGAIN)))))
    }

    /// Marks the request as being worked on. False where the deadline has passed.
    pub(in crate::service) fn begin(&self) -> bool {
        let pending = self.0.pending.lock();
        pending.as_ref().inspect(|pending| pending.in_flight.begin()).is_some()
    }

    /// Sends the answer, unless the deadline has passed.
    pub(in crate::service) fn send(self, answer: Result<T, Error>) {
        self.0.send(answer);
    }

    /// When the reader stops waiting.
    pub(in crate::service) fn deadline(&self) -> Deadline {
        self.0.deadline.clone()
    }
}

impl<T> Drop for DeadlineReply<T> {
    fn drop(&mut self) {
        self.0.send(Err(Error::Errno(Errno::AGAIN)));
    }
}

impl<T> State<T> {
    fn send(&self, answer: Result<T, Error>) {
        // Unlocked before the reply runs.
        let pending = self.pending.lock().take();
        if let Some(PendingReply { reply, in_flight }) = pending {
            self.deadline.pass();
            reply(answer);
            drop(in_flight);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn it_is_told_once_whatever_comes_first() {
        let (sender, told) = mpsc::channel();
        let new = || {
            let sender = sender.clone();
            DeadlineReply::new(
                &Arc::from(&b"/"[..]),
                InFlightGuard::untracked(),
                Box::new(move |answer: Result<u8, Error>| sender.send(answer.ok()).unwrap()),
            )
        };
        let all = || told.try_iter().collect::<Vec<_>>();
        let (reply, give_up) = new();
        assert!(reply.begin());
        reply.send(Ok(1));
        give_up();
        assert_eq!(all(), [Some(1)]);
        let (reply, give_up) = new();
        give_up();
        assert_eq!(all(), [None]);
        assert!(!reply.begin(), "nobody waits any more");
        reply.send(Ok(2));
        assert_eq!(all(), [], "it comes too late");
        let (reply, give_up) = new();
        drop(reply);
        give_up();
        assert_eq!(all(), [None], "nobody will");
    }
}
