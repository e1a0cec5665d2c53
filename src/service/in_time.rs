//! Answers that may never come.

use super::aside::Job;
use crate::error::Error;
use parking_lot::Mutex;
use rustix::io::Errno;
use std::sync::Arc;

/// Who is to be told an answer.
pub(super) type Reply<T> = Box<dyn FnOnce(Result<T, Error>) + Send>;

/// A reply that is told once: the answer, or, where that does not come in time or at all, EAGAIN.
pub(super) struct InTime<T>(Arc<Mutex<Option<Reply<T>>>>);

impl<T: Send + 'static> InTime<T> {
    /// With what has to be done when the time is over.
    pub(super) fn new(reply: Reply<T>) -> (Self, Job) {
        let reply = Arc::new(Mutex::new(Some(reply)));
        let late = Arc::clone(&reply);
        (Self(reply), Box::new(move || tell(&late, Err(Error::OfKernel(Errno::AGAIN)))))
    }

    pub(super) fn tell(self, answer: Result<T, Error>) {
        tell(&self.0, answer);
    }
}

impl<T> Drop for InTime<T> {
    fn drop(&mut self) {
        tell(&self.0, Err(Error::OfKernel(Errno::AGAIN)));
    }
}

fn tell<T>(reply: &Mutex<Option<Reply<T>>>, answer: Result<T, Error>) {
    // Unlocked before it is told.
    let reply = reply.lock().take();
    if let Some(reply) = reply {
        reply(answer);
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
            InTime::new(Box::new(move |answer: Result<u8, Error>| sender.send(answer.ok()).unwrap()))
        };
        let all = || told.try_iter().collect::<Vec<_>>();
        let (reply, give_up) = new();
        reply.tell(Ok(1));
        give_up();
        assert_eq!(all(), [Some(1)]);
        let (reply, give_up) = new();
        give_up();
        assert_eq!(all(), [None]);
        reply.tell(Ok(2));
        assert_eq!(all(), [], "it comes too late");
        let (reply, give_up) = new();
        drop(reply);
        give_up();
        assert_eq!(all(), [None], "nobody will");
    }
}
