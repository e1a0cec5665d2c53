//! Pressure triggers of containers.
//!
//! The kernel takes a trigger for a cgroup only from who may write to the cgroup's files, and those of others this process need
//! not be able to write to. So it looks itself at how long tasks were stalled, ten times a window as the kernel does
//! (`UPDATES_PER_WINDOW`, kernel/sched/psi.c), or more seldom, but no more seldom than twice in the shortest window, where that
//! would take more than a fiftieth of one processor.

use super::places::Places;
use crate::kernel::PressureFile;
use crate::rate_limited_log::RateLimitedLog;
use crate::shares::Policy;
use crate::state::{Record, Table};
use crate::sys;
use cgprocfs_core::psi::{Line, PsiWindow, Trigger};
use log::Level;
use parking_lot::{Condvar, Mutex};
use rustix::io::Errno;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// So many of one container's readers: each costs an open file and the time to look at it.
const MOST_OF_ONE: usize = 64;
/// And of all. Where more are wanted tenants share them.
pub const TRIGGERS: usize = 1024;
const LOOKS_A_WINDOW: u32 = 10;
/// So many times as long as looking took it is paused: a fiftieth of the processor,
const PAUSE_PER_WORK: u32 = 50;
/// but is not put off for longer, however long it took.
const PAUSE: Duration = Duration::from_millis(250);

/// By the number of the open file that a program has written to.
pub(super) struct Triggers {
    all: Mutex<All>,
    armed: Condvar,
    log: RateLimitedLog,
}

struct All {
    armed: HashMap<u64, Armed>,
    /// What a predecessor left, until somebody asks for it.
    left: HashMap<u64, KeptTrigger>,
    /// By the open file's number and 1.
    places: Places<KeptTrigger>,
    /// Who waits for a trigger that has lost its place, and was not told yet.
    displaced: Vec<u64>,
    /// Nobody is to look any more.
    has_ended: bool,
}

/// What a successor has to know of a trigger.
#[derive(Debug, Clone, Copy)]
pub struct KeptTrigger {
    /// The container, or 0 for the host.
    pub(super) owner: u64,
    pub(super) trigger: Trigger,
    /// What the kernel is told when there is an event.
    waiter: u64,
}

impl Record for KeptTrigger {
    const VERSION: u64 = 1;
    const WORDS: usize = 4;

    fn save(&self) -> impl Iterator<Item = u64> {
        let line = u64::from(self.trigger.line == Line::Full);
        let times = u64::from(self.trigger.threshold) << 32 | u64::from(self.trigger.window);
        [self.waiter, line, times, self.owner].into_iter()
    }

    fn restore(words: &[u64]) -> Option<Self> {
        let &[waiter, line, times, owner] = words else { return None };
        let line = if line == 0 { Line::Some } else { Line::Full };
        let threshold = (times >> 32).try_into().ok()?;
        let window = (times & u64::from(u32::MAX)).try_into().ok()?;
        Some(Self { owner, trigger: Trigger { line, threshold, window }, waiter })
    }
}

struct Armed {
    /// The container, or 0 for the host.
    owner: u64,
    /// `None` where the container's pressure is not known, and there never is any.
    file: Option<Arc<PressureFile>>,
    trigger: Trigger,
    watch: PsiWindow,
    due: Instant,
    has_event: bool,
    /// Its pressure is not looked at any more: its cgroup was removed, or its place is another's.
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
    /// There is no trigger, no container any more, or no place for its triggers.
    Error,
}

impl Triggers {
    /// Of an eighth of so many open files at most.
    pub(super) fn new(most_files: usize) -> Self {
        let places = Places::new(TRIGGERS.min(most_files / 8), Policy::Refuse);
        let all = All {
            armed: HashMap::new(),
            left: HashMap::new(),
            places,
            displaced: Vec::new(),
            has_ended: false,
        };
        Self { all: Mutex::new(all), armed: Condvar::new(), log: RateLimitedLog::new() }
    }

    /// Keeps them in a table. Returns those who wait for what a predecessor has kept there: they have to ask again.
    pub(super) fn keep(&self, table: Table<KeptTrigger>) -> Vec<u64> {
        let mut all = self.all.lock();
        let left = all.places.resume(table);
        all.left = left.into_iter().map(|(key, left)| (key - 1, left)).collect();
        all.left.values().map(|left| left.waiter).filter(|&waiter| waiter != 0).collect()
    }

    /// Has a file watched from now on.
    ///
    /// # Errors
    /// EBUSY if it is watched already, ENOSPC where too many of this container are, or of all and no other tenant has more.
    pub(super) fn arm(
        &self,
        handle: u64,
        (owner, path): (u64, &[u8]),
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
        let is_owner_s = |armed: &&Armed| armed.owner == owner && !armed.is_gone;
        if all.armed.values().filter(is_owner_s).count() >= MOST_OF_ONE {
            return Err(Errno::NOSPC);
        }
        let displaced = all.places.claim(handle + 1, path).map_err(|_| Errno::NOSPC)?;
        for key in displaced {
            let wanted_by = path.escape_ascii();
            self.log.message(
                "displaced trigger",
                Level::Warn,
                format_args!(
                    "all pressure triggers are taken: {wanted_by} gets one of the tenant that has the most"
                ),
            );
            all.displace(key - 1);
        }
        let file = file.map(Arc::new);
        let now = Instant::now();
        let watch = PsiWindow::new(trigger, microseconds(now), stalled);
        let due = now + Duration::from_micros(trigger.window.into()) / LOOKS_A_WINDOW;
        let armed = Armed { owner, file, trigger, watch, due, has_event: false, is_gone: false, waiter: 0 };
        all.armed.insert(handle, armed);
        all.left.remove(&handle);
        all.put(handle);
        self.armed.notify_one();
        Ok(())
    }

    /// The trigger that a predecessor was given for this open file.
    pub(super) fn left(&self, handle: u64) -> Option<KeptTrigger> {
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
            all.places.release(handle + 1);
            if all.armed.is_empty() {
                all.armed.shrink_to_fit();
            }
        }
    }

    /// Ends the [looking](Self::look).
    pub(super) fn end(&self) {
        self.all.lock().has_ended = true;
        self.armed.notify_one();
    }

    /// Waits until there is something to look at, looks, and has `wake` tell who waits. Returns whether to go on.
    pub(super) fn look(&self, wake: impl Fn(u64)) -> bool {
        let began = sys::thread_time();
        let (due, displaced): (Vec<_>, _) = {
            let mut all = self.all.lock();
            let now = Instant::now();
            let next = all.armed.values().filter(|armed| !armed.is_gone).map(|armed| armed.due).min();
            if all.displaced.is_empty() && !all.has_ended {
                match next.map(|next| next.saturating_duration_since(now)) {
                    // An idle daemon has no reason to run.
                    None => self.armed.wait(&mut all),
                    Some(Duration::ZERO) => {}
                    Some(wait) => drop(self.armed.wait_for(&mut all, wait)),
                }
            }
            if all.has_ended {
                return false;
            }
            let now = Instant::now();
            let due = all.armed.iter_mut().filter(|(_, armed)| armed.due <= now);
            let due = due.filter_map(|(&handle, armed)| {
                armed.due = now + Duration::from_micros(armed.trigger.window.into()) / LOOKS_A_WINDOW;
                Some((handle, Arc::clone(armed.file.as_ref()?)))
            });
            (due.collect(), std::mem::take(&mut all.displaced))
        };
        displaced.into_iter().for_each(&wake);
        for (handle, file) in due {
            let text = file.read();
            let now = microseconds(Instant::now());
            let mut all = self.all.lock();
            let All { armed, places, .. } = &mut *all;
            // It may have been closed, or have lost its place, meanwhile.
            let Some(armed) = armed.get_mut(&handle).filter(|armed| !armed.is_gone) else { continue };
            let is_told = match text {
                Ok(text) => {
                    let stalled = armed.trigger.stalled(&text);
                    let is_event = stalled.is_some_and(|stalled| armed.watch.look(now, stalled));
                    armed.has_event |= is_event;
                    is_event
                }
                Err(_) => {
                    (armed.is_gone, armed.file) = (true, None);
                    places.release(handle + 1);
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
        true
    }
}

impl All {
    /// Keeps one for a successor.
    fn put(&mut self, handle: u64) {
        let Some(armed) = self.armed.get(&handle) else { return };
        let left = KeptTrigger { owner: armed.owner, trigger: armed.trigger, waiter: armed.waiter };
        self.places.put(handle + 1, &left);
    }

    /// Ends one whose place is another's: whoever polls its file gets an error, as where its cgroup is gone.
    fn displace(&mut self, handle: u64) {
        let Some(armed) = self.armed.get_mut(&handle) else { return };
        (armed.is_gone, armed.file) = (true, None);
        self.displaced.extend((armed.waiter != 0).then_some(armed.waiter));
    }
}

/// On a clock of this process's own.
fn microseconds(now: Instant) -> u64 {
    use std::sync::LazyLock;
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(now.saturating_duration_since(*START).as_micros()).unwrap_or(u64::MAX)
}
