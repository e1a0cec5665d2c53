//! Pressure triggers of containers.
//!
//! The kernel takes a trigger for a cgroup only from who may write to the cgroup's files, and those of others this process need
//! not be able to write to. So it looks itself at how long tasks were stalled, ten times a window as the kernel does
//! (`UPDATES_PER_WINDOW`, kernel/sched/psi.c), or more seldom, but no more seldom than twice in the shortest window, where that
//! would take more than a fiftieth of one processor.

use crate::source::PressureFile;
use crate::sys;
use crate::trigger::{Line, Trigger, Watch};
use parking_lot::{Condvar, Mutex};
use rustix::io::Errno;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// So many of one container's readers, and of all: each costs an open file and the time to look at it.
const MOST_OF_ONE: usize = 64;
const MOST: usize = 1024;
/// How much of the memory that outlives this process each takes: the open file and 1, who waits, the line, times, the owner.
const SLOT: usize = 5;
/// All of it.
pub const TRIGGER_WORDS: usize = SLOT * MOST;
const LOOKS_A_WINDOW: u32 = 10;
/// So many times as long as looking took it is paused: a fiftieth of the processor,
const PAUSE_PER_WORK: u32 = 50;
/// but is not put off for longer, however long it took.
const PAUSE: Duration = Duration::from_millis(250);

/// By the number of the open file that a program has written to.
pub(super) struct Triggers {
    /// So many at once.
    most: usize,
    all: Mutex<All>,
    armed: Condvar,
}

#[derive(Default)]
struct All {
    armed: HashMap<u64, Armed>,
    /// What a predecessor left, until somebody asks for it.
    left: HashMap<u64, Left>,
    /// Memory that outlives this process, if there is any.
    kept: &'static [AtomicU64],
}

/// Of a predecessor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Left {
    pub(super) owner: u64,
    pub(super) trigger: Trigger,
}

struct Armed {
    /// The container, or 0 for the host.
    owner: u64,
    /// `None` where the container's pressure is not known, and there never is any.
    file: Option<Arc<PressureFile>>,
    trigger: Trigger,
    watch: Watch,
    due: Instant,
    has_event: bool,
    /// Its pressure can't be read any more: its cgroup was removed.
    is_gone: bool,
    /// What the kernel is told when there is an event.
    waiter: u64,
}

/// What a program that polls is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Polled {
    /// Nothing yet.
    Nothing,
    /// An event, which is told once.
    Event,
    /// There is no trigger, or no container any more.
    Error,
}

impl Triggers {
    /// Of an eighth of so many open files at most.
    pub(super) fn new(most_files: usize) -> Self {
        Self { most: MOST.min(most_files / 8), all: Mutex::default(), armed: Condvar::new() }
    }

    /// Keeps them in `words`. Returns those who wait for what a predecessor has kept there: they have to ask again.
    pub(super) fn keep(&self, words: &'static [AtomicU64]) -> Vec<u64> {
        let mut all = self.all.lock();
        all.kept = words;
        let mut waiters = Vec::new();
        for slot in words.chunks_exact(SLOT) {
            let [handle, waiter, line, times, owner] =
                [0, 1, 2, 3, 4].map(|word| slot[word].load(Ordering::Acquire));
            let line = if line == 0 { Line::Some } else { Line::Full };
            let [threshold, window] = [times >> 32, times & u64::from(u32::MAX)];
            let (Ok(threshold), Ok(window)) = (threshold.try_into(), window.try_into()) else { continue };
            if let Some(handle) = handle.checked_sub(1) {
                all.left.insert(handle, Left { owner, trigger: Trigger { line, threshold, window } });
                waiters.extend((waiter != 0).then_some(waiter));
            }
        }
        waiters
    }

    /// Has a file watched from now on.
    ///
    /// # Errors
    /// EBUSY if it is watched already, ENOSPC where too many are.
    pub(super) fn arm(
        &self,
        handle: u64,
        owner: u64,
        trigger: Trigger,
        file: Option<PressureFile>,
    ) -> Result<(), Errno> {
        // Reading takes what the kernel wants to take, and others need the lock.
        let stalled = match &file {
            Some(file) => trigger.stalled(&file.read()?).ok_or(Errno::INVAL)?,
            None => 0,
        };
        let mut all = self.all.lock();
        if all.armed.contains_key(&handle) {
            return Err(Errno::BUSY);
        }
        let of_owner = all.armed.values().filter(|armed| armed.owner == owner).count();
        if of_owner >= MOST_OF_ONE || all.armed.len() >= self.most {
            return Err(Errno::NOSPC);
        }
        let file = file.map(Arc::new);
        let now = Instant::now();
        let watch = Watch::new(trigger, microseconds(now), stalled);
        let due = now + Duration::from_micros(trigger.window.into()) / LOOKS_A_WINDOW;
        let armed = Armed { owner, file, trigger, watch, due, has_event: false, is_gone: false, waiter: 0 };
        all.armed.insert(handle, armed);
        all.left.remove(&handle);
        all.put(handle);
        self.armed.notify_one();
        Ok(())
    }

    /// The trigger that a predecessor was given for this open file.
    pub(super) fn left(&self, handle: u64) -> Option<Left> {
        self.all.lock().left.get(&handle).copied()
    }

    /// Whether there is an event; if not, `waiter` is told of it, unless it is 0.
    pub(super) fn poll(&self, handle: u64, waiter: u64) -> Polled {
        let mut all = self.all.lock();
        let Some(armed) = all.armed.get_mut(&handle) else { return Polled::Error };
        if armed.is_gone {
            return Polled::Error;
        }
        if std::mem::take(&mut armed.has_event) {
            return Polled::Event;
        }
        if waiter != 0 && armed.waiter != waiter {
            armed.waiter = waiter;
            all.put(handle);
        }
        Polled::Nothing
    }

    /// The file was closed.
    pub(super) fn release(&self, handle: u64) {
        let mut all = self.all.lock();
        let was_armed = all.armed.remove(&handle).is_some();
        if was_armed || all.left.remove(&handle).is_some() {
            if let Some(slot) = all.slot(handle + 1) {
                slot[0].store(0, Ordering::Release);
            }
            if all.armed.is_empty() {
                all.armed.shrink_to_fit();
            }
        }
    }

    /// Waits until there is something to look at, at most a second, looks, and has `wake` tell who waits.
    pub(super) fn look(&self, wake: impl Fn(u64)) {
        let began = sys::thread_time();
        let due: Vec<_> = {
            let mut all = self.all.lock();
            let now = Instant::now();
            let next = all.armed.values().map(|armed| armed.due).min();
            let wait = next.map_or(Duration::from_secs(1), |next| next.saturating_duration_since(now));
            if !wait.is_zero() {
                self.armed.wait_for(&mut all, wait.min(Duration::from_secs(1)));
            }
            let now = Instant::now();
            let due = all.armed.iter_mut().filter(|(_, armed)| armed.due <= now);
            due.filter_map(|(&handle, armed)| {
                armed.due = now + Duration::from_micros(armed.trigger.window.into()) / LOOKS_A_WINDOW;
                Some((handle, Arc::clone(armed.file.as_ref()?)))
            })
            .collect()
        };
        for (handle, file) in due {
            let text = file.read();
            let now = microseconds(Instant::now());
            let mut all = self.all.lock();
            // It may have been closed meanwhile.
            let Some(armed) = all.armed.get_mut(&handle) else { continue };
            let is_told = match text {
                Ok(text) => {
                    let stalled = armed.trigger.stalled(&text);
                    let is_event = stalled.is_some_and(|stalled| armed.watch.look(now, stalled));
                    armed.has_event |= is_event;
                    is_event
                }
                Err(_) => {
                    (armed.is_gone, armed.file) = (true, None);
                    true
                }
            };
            let waiter = armed.waiter;
            drop(all);
            if is_told && waiter != 0 {
                wake(waiter);
            }
        }
        let took = sys::thread_time().saturating_sub(began);
        std::thread::sleep((took * PAUSE_PER_WORK).min(PAUSE));
    }
}

impl All {
    /// The place whose first word is `first`.
    fn slot(&self, first: u64) -> Option<&'static [AtomicU64]> {
        self.kept.chunks_exact(SLOT).find(|slot| slot[0].load(Ordering::Relaxed) == first)
    }

    /// Keeps one for a successor.
    fn put(&self, handle: u64) {
        let Some(armed) = self.armed.get(&handle) else { return };
        let Some(slot) = self.slot(handle + 1).or_else(|| self.slot(0)) else { return };
        slot[0].store(0, Ordering::Release);
        slot[1].store(armed.waiter, Ordering::Relaxed);
        slot[2].store(u64::from(armed.trigger.line == Line::Full), Ordering::Relaxed);
        let times = u64::from(armed.trigger.threshold) << 32 | u64::from(armed.trigger.window);
        slot[3].store(times, Ordering::Relaxed);
        slot[4].store(armed.owner, Ordering::Relaxed);
        slot[0].store(handle + 1, Ordering::Release);
    }
}

/// On a clock of this process's own.
fn microseconds(now: Instant) -> u64 {
    use std::sync::LazyLock;
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(now.saturating_duration_since(*START).as_micros()).unwrap_or(u64::MAX)
}
