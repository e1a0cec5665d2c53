//! Threads that answer the calls of many containers.
//!
//! A listener is served by one thread at a time, and whoever makes that thread wait, by memory that is slow to
//! write to or by too many calls, makes its own container wait alone: there is always another thread.

use super::answer::Answering;
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
/// How much processor time a listener may take of each [`WINDOW`].
const BUDGET: Duration = Duration::from_millis(20);
const WINDOW: Duration = Duration::from_millis(100);
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
    spent: Mutex<Spent>,
}

/// The processor time that was spent on a listener since a moment.
struct Spent {
    since: Instant,
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

    /// Answers the calls of one more container from now on.
    ///
    /// # Errors
    /// The error that the kernel returns.
    pub fn add(&self, listener: Listener) -> io::Result<()> {
        let number = {
            let mut work = self.work.lock();
            work.next_number += 1;
            work.next_number
        };
        let spent = Mutex::new(Spent { since: Instant::now(), time: Duration::ZERO });
        let served = Arc::new(Served { number, listener, spent });
        self.listeners.lock().insert(number, Arc::clone(&served));
        let data = epoll::EventData::new_u64(number);
        epoll::add(&self.epoll, &served.listener, data, INTEREST).inspect_err(|_| {
            self.listeners.lock().remove(&number);
        })?;
        Ok(())
    }

    /// How many containers there are.
    pub fn len(&self) -> usize {
        self.listeners.lock().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits for calls and has them answered, for ever.
    ///
    /// # Errors
    /// The error that the kernel returns.
    pub fn run(self: &Arc<Self>) -> io::Result<()> {
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            events.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                let (number, flags) = (event.data.u64(), event.flags);
                match flags.contains(epoll::EventFlags::IN) {
                    true => self.serve_soon(number),
                    // Nobody is left who could make a call.
                    false => drop(self.listeners.lock().remove(&number)),
                }
            }
        }
    }

    fn serve_soon(self: &Arc<Self>, number: u64) {
        let Some(served) = self.listeners.lock().get(&number).map(Arc::clone) else { return };
        let mut work = self.work.lock();
        work.ready.push_back(served);
        if work.idle >= work.ready.len() {
            self.is_there_work.notify_one();
            return;
        }
        drop(work);
        let pool = Arc::clone(self);
        let started = thread::Builder::new().name("answer".into()).spawn(move || pool.work());
        // The next thread that has nothing to do takes it.
        if let Err(error) = started {
            log::warn!("cannot start a thread, so that callers wait: {error}");
        }
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
        let began = thread_time();
        for _ in 0..CALLS_A_TURN {
            if let Err(error) = self.answering.answer_next(&served.listener) {
                log::warn!("cannot receive a system call: {error}");
                break;
            }
            if !served.listener.has_call() {
                break;
            }
        }
        if let Some(pause) = served.spend(thread_time().saturating_sub(began)) {
            thread::sleep(pause);
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
    /// Notes processor time; returns how long the listener has to wait if that was too much.
    fn spend(&self, time: Duration) -> Option<Duration> {
        let (mut spent, now) = (self.spent.lock(), Instant::now());
        let in_window = now.saturating_duration_since(spent.since);
        if in_window >= WINDOW {
            *spent = Spent { since: now, time };
            return None;
        }
        spent.time += time;
        (spent.time > BUDGET).then(|| WINDOW - in_window)
    }
}
