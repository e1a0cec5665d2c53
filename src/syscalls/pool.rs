//! Threads that answer the calls of many containers.
//!
//! A listener is served by one thread at a time, and whoever makes that thread wait, by memory that is slow to
//! write to or by too many calls, makes its own container wait alone: there is always another thread.

use super::answer::{Answering, rest};
use super::call_table::LeftCall;
use super::listener::Listener;
use crate::sys::thread_time;
use parking_lot::{Condvar, Mutex};
use rustix::event::epoll;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// A listener is looked after for so many calls before it is another's turn to get a thread.
const CALLS_A_TURN: usize = 16;
/// A listener may take the processor for one in so many moments, and for so long at once.
const SHARE: u32 = 5;
const BURST: Duration = Duration::from_millis(20);
/// How long a listener that may not take more rests at most, before its calls are answered one by one.
const MAX_REST: Duration = Duration::from_millis(500);
/// How often a thread is asked for again that could not be started.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);
/// How long a thread waits for work before it ends.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// How many events are taken at a time.
const EVENTS: usize = 64;

/// The listeners of all containers, and the threads that serve them.
pub struct Pool {
    answering: Answering,
    epoll: OwnedFd,
    listeners: Mutex<HashMap<u64, Arc<Served>>>,
    work: Mutex<Work>,
    is_there_work: Condvar,
}

struct Served {
    number: u64,
    listener: Listener,
    /// What the process before this one has received and not answered.
    left: Mutex<Vec<LeftCall>>,
    debt: Mutex<Debt>,
}

/// How much more than its share of a processor a listener has taken, as of a moment.
struct Debt {
    at: Instant,
    time: Duration,
}

#[derive(Default)]
struct Work {
    ready: VecDeque<Arc<Served>>,
    idle: usize,
    next_number: u64,
}

impl Pool {
    /// A pool without listeners.
    ///
    /// # Errors
    /// The error that the kernel returns.
    pub fn new(answering: Answering) -> io::Result<Arc<Self>> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let (listeners, work) = (Mutex::default(), Mutex::default());
        Ok(Arc::new(Self { answering, epoll, listeners, work, is_there_work: Condvar::new() }))
    }

    /// Answers the calls of one more container from now on, those that are `left` first.
    ///
    /// # Errors
    /// The error that the kernel returns.
    pub fn add(self: &Arc<Self>, listener: Listener, left: Vec<LeftCall>) -> io::Result<()> {
        let number = {
            let mut work = self.work.lock();
            work.next_number += 1;
            work.next_number
        };
        let debt = Mutex::new(Debt { at: Instant::now(), time: Duration::ZERO });
        let (is_waited_for, left) = (!left.is_empty(), Mutex::new(left));
        let served = Arc::new(Served { number, listener, left, debt });
        self.listeners.lock().insert(number, Arc::clone(&served));
        let data = epoll::EventData::new_u64(number);
        // Whoever answers what is left waits for the rest.
        let interest = if is_waited_for { epoll::EventFlags::ONESHOT } else { INTEREST };
        epoll::add(&self.epoll, &served.listener, data, interest).inspect_err(|_| {
            self.listeners.lock().remove(&number);
        })?;
        if is_waited_for {
            self.serve_soon(number);
        }
        Ok(())
    }

    /// Waits for calls and has them answered, for ever.
    ///
    /// # Errors
    /// The error that the kernel returns.
    pub fn run(self: &Arc<Self>) -> io::Result<()> {
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            events.clear();
            let timeout = self.start_missing_thread().then(|| RETRY_INTERVAL.try_into().unwrap_or_default());
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                let (number, flags) = (event.data.u64(), event.flags);
                let is_over =
                    flags.contains(epoll::EventFlags::HUP) && !flags.contains(epoll::EventFlags::IN);
                match is_over {
                    false => self.serve_soon(number),
                    // Nobody is left who could make a call.
                    true => drop(self.listeners.lock().remove(&number)),
                }
            }
        }
    }

    fn serve_soon(self: &Arc<Self>, number: u64) {
        let Some(served) = self.listeners.lock().get(&number).map(Arc::clone) else { return };
        self.work.lock().ready.push_back(served);
        self.is_there_work.notify_one();
        self.start_missing_thread();
    }

    /// Starts a thread if there are not enough for what is ready; returns whether there still are not.
    fn start_missing_thread(self: &Arc<Self>) -> bool {
        let is_enough = {
            let work = self.work.lock();
            work.idle >= work.ready.len()
        };
        if is_enough {
            return false;
        }
        let pool = Arc::clone(self);
        let started = thread::Builder::new().name("answer".into()).spawn(move || pool.work());
        if let Err(error) = &started {
            log::warn!("cannot start a thread, so that callers wait: {error}");
        }
        started.is_err()
    }

    fn work(&self) {
        let mut work = self.work.lock();
        loop {
            if let Some(served) = work.ready.pop_front() {
                drop(work);
                self.serve(&served);
                work = self.work.lock();
                continue;
            }
            work.idle += 1;
            let is_over = self.is_there_work.wait_for(&mut work, IDLE_TIMEOUT).timed_out();
            work.idle -= 1;
            if is_over && work.ready.is_empty() {
                return;
            }
        }
    }

    fn serve(&self, served: &Served) {
        for LeftCall { call, attempts, noted, .. } in std::mem::take(&mut *served.left.lock()) {
            self.answering.answer_received(&served.listener, &call, attempts);
            drop(noted);
        }
        for _ in 0..CALLS_A_TURN {
            let began = thread_time();
            if let Err(error) = self.answering.answer_next(&served.listener) {
                rest(&error);
            }
            if let Some(pause) = served.spend(thread_time().saturating_sub(began)) {
                thread::sleep(pause);
            }
            if !served.listener.has_call() {
                break;
            }
        }
        let data = epoll::EventData::new_u64(served.number);
        if let Err(error) = epoll::modify(&self.epoll, &served.listener, data, INTEREST) {
            log::warn!("cannot wait for a container's system calls any more: {error}");
            self.listeners.lock().remove(&served.number);
        }
    }
}

/// One event each time, so that one thread at a time has the listener.
const INTEREST: epoll::EventFlags = epoll::EventFlags::IN.union(epoll::EventFlags::ONESHOT);

impl Served {
    /// Notes processor time; returns how long the listener has to rest if that was too much.
    fn spend(&self, time: Duration) -> Option<Duration> {
        let (mut debt, now) = (self.debt.lock(), Instant::now());
        let paid = now.saturating_duration_since(debt.at) / SHARE;
        *debt = Debt { at: now, time: (debt.time + time).saturating_sub(paid) };
        let excess = debt.time.checked_sub(BURST).filter(|excess| !excess.is_zero())?;
        Some((excess * SHARE).min(MAX_REST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, memfd_create};

    #[test]
    fn whoever_takes_more_than_its_share_rests() {
        let listener = Listener::new(memfd_create("none", MemfdFlags::CLOEXEC).unwrap());
        assert!(!listener.is_one());
        let debt = Mutex::new(Debt { at: Instant::now(), time: Duration::ZERO });
        let served = Served { number: 1, listener, left: Mutex::default(), debt };
        assert_eq!(served.spend(BURST / 2), None);
        let rest = served.spend(BURST).unwrap();
        assert!(
            rest > BURST / 2 * SHARE - Duration::from_millis(20) && rest <= BURST / 2 * SHARE,
            "{rest:?}"
        );
        assert_eq!(served.spend(Duration::from_secs(60)), Some(MAX_REST));
        let long_ago = Instant::now().checked_sub(Duration::from_secs(600)).unwrap();
        served.debt.lock().at = long_ago;
        assert_eq!(served.spend(BURST / 2), None);
    }
}
