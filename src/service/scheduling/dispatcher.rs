//! A thread that takes jobs in for a pool of workers.
//!
//! A serving thread only leaves a message, and goes on. To take the pool's lock might be to wait for a worker
//! that has it and is less important than every program on the machine, and to start a thread is to wait for
//! whoever moves processes between cgroups (`cgroup_threadgroup_rwsem`, kernel/cgroup/cgroup.c).

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Instant;

/// A unit of work. One that can't be done is dropped, which answers its reader with an error or with what is
/// known.
pub(in crate::service) type Job = Box<dyn FnOnce() + Send>;

/// A job, and when it is to run if not at once.
type Message = (Option<Instant>, Job);

/// The way to the thread, which ends when this is dropped.
#[derive(Default)]
pub(in crate::service) struct Dispatcher {
    sender: OnceLock<Sender<Message>>,
    starting: Mutex<()>,
}

impl Dispatcher {
    /// Starts the thread, unless it was started. The first message does so too.
    ///
    /// # Errors
    /// Where it can't be started.
    pub(super) fn start(&self) -> io::Result<&Sender<Message>> {
        if let Some(sender) = self.sender.get() {
            return Ok(sender);
        }
        let _starting = self.starting.lock();
        if let Some(sender) = self.sender.get() {
            return Ok(sender);
        }
        let (sender, messages) = mpsc::channel();
        thread::Builder::new().name("dispatcher".into()).spawn(move || dispatch(&messages))?;
        Ok(self.sender.get_or_init(|| sender))
    }

    /// Has a short job run, in the order of the calls, or at a given time.
    ///
    /// # Errors
    /// Where the thread can't be started; the job is returned.
    pub(super) fn send(&self, at: Option<Instant>, job: Job) -> Result<(), (io::Error, Job)> {
        let sender = match self.start() {
            Ok(sender) => sender,
            Err(error) => return Err((error, job)),
        };
        // The thread is there as long as this is.
        let _ = sender.send((at, job));
        Ok(())
    }
}

fn dispatch(messages: &Receiver<Message>) {
    // A panic was logged where it happened.
    let run = |job: Job| drop(catch_unwind(AssertUnwindSafe(job)));
    let (mut later, mut number) = (BTreeMap::<(Instant, u64), Job>::new(), 0_u64);
    loop {
        let message = match later.first_key_value() {
            None => messages.recv().map_err(RecvTimeoutError::from),
            Some(((at, _), _)) => messages.recv_timeout(at.saturating_duration_since(Instant::now())),
        };
        match message {
            Ok((None, job)) => run(job),
            Ok((Some(at), job)) => {
                number += 1;
                later.insert((at, number), job);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let now = Instant::now();
        while let Some(due) = later.first_entry().filter(|job| job.key().0 <= now) {
            run(due.remove());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn jobs_keep_their_order_and_their_time() {
        let (dispatcher, (sender, done)) = (Dispatcher::default(), mpsc::channel());
        let job = |name: &'static str| {
            let sender = sender.clone();
            Box::new(move || sender.send((name, Instant::now())).unwrap_or_default())
        };
        let at = Instant::now() + Duration::from_millis(60);
        let send = |at, job| dispatcher.send(at, job).map_err(|(error, _)| error).unwrap();
        send(Some(at), job("second deadline"));
        send(Some(at - Duration::from_millis(30)), job("first deadline"));
        send(None, Box::new(|| panic!("on purpose")));
        send(None, job("one"));
        send(None, job("two"));
        let ran: Vec<_> = done.iter().take(4).collect();
        let place = |of| ran.iter().position(|(name, _)| *name == of).unwrap();
        assert!(place("one") < place("two") && place("first deadline") < place("second deadline"), "{ran:?}");
        assert!(ran[place("second deadline")].1 >= at);
        drop(dispatcher);
        drop(sender);
        assert!(done.recv().is_err(), "its thread has ended, and has dropped what it had");
    }
}
