//! Watches the pressure of containers for the triggers that programs have set.
//!
//! The kernel takes a trigger for a cgroup only from who may write to the cgroup's files, which this process need not be able
//! to. So it reads the pressure itself, ten times a window as the kernel does (`UPDATES_PER_WINDOW`, kernel/sched/psi.c). Where
//! that would take more than a fiftieth of a processor it reads less often, but at least twice in the shortest window.

use crate::kernel::PressureFile;
use crate::rate_limited_log::RateLimitedLog;
use crate::service::accounts::retained_records::RetainedRecords;
use crate::shares::Policy;
use crate::state::{MAX_PSI_TRIGGERS, OrphanedTrigger, Table};
use crate::sys;
use cgprocfs_core::psi::{PsiWindow, Trigger};
use log::Level;
use parking_lot::{Condvar, Mutex};
use rustix::io::Errno;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

/// How many triggers one container may have: each costs an open file and the time to read it.
const MAX_TRIGGERS_PER_CONTAINER: usize = 64;
/// How often a trigger's pressure is read in each of its windows.
const READS_PER_WINDOW: u32 = 10;
/// The part of a processor that reading takes at most is the inverse of this.
const DUTY_CYCLE: u32 = 50;
/// The longest pause after reading, however long that took.
const MAX_PAUSE: Duration = Duration::from_millis(250);

/// The triggers, by the number of the open file that a program has written each to.
pub(super) struct PsiMonitor {
    triggers: Mutex<Triggers>,
    /// Notified when there is a new trigger, and at the end.
    changed: Condvar,
    log: RateLimitedLog,
}

struct Triggers {
    armed: HashMap<u64, ArmedTrigger>,
    /// What a predecessor left, until somebody asks for it.
    orphaned: HashMap<u64, OrphanedTrigger>,
    /// By [`key`].
    retained: RetainedRecords<OrphanedTrigger>,
    /// Poll handles of those who wait for a trigger that has lost its place, and were not told yet.
    displaced: Vec<u64>,
    /// Whether the monitor is to end.
    has_ended: bool,
}

struct ArmedTrigger {
    /// The id of the container's cgroup; 0 for the host.
    owner: u64,
    /// `None` where the container's pressure is not known, so that there never is an event.
    file: Option<Arc<PressureFile>>,
    trigger: Trigger,
    window: PsiWindow,
    /// When its pressure is to be read next.
    due: Instant,
    has_event: bool,
    /// Whether its pressure is not read any more: its cgroup was removed, or its place is another's.
    is_gone: bool,
    /// The poll handle by which the kernel is told of an event; 0 while nobody waits.
    waiter: u64,
}

/// What there is to do.
struct Work {
    /// The open files whose pressure is due to be read.
    due: Vec<(u64, Arc<PressureFile>)>,
    /// Poll handles of those who wait for a trigger that has lost its place.
    displaced: Vec<u64>,
}

/// What a program that polls is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PollState {
    /// There is no event yet.
    Nothing,
    /// There was an event, which is told once.
    Event,
    /// There is no trigger, no container any more, or no place for its triggers.
    Error,
}

/// The key under which the trigger of an open file is stored: 0 is none, and the number of an open file may be 0.
const fn key(handle: u64) -> u64 {
    handle + 1
}

impl PsiMonitor {
    /// A monitor that keeps up to an eighth of `most_files` files open.
    pub(super) fn new(most_files: usize) -> Self {
        let triggers = Triggers {
            armed: HashMap::new(),
            orphaned: HashMap::new(),
            retained: RetainedRecords::new(MAX_PSI_TRIGGERS.min(most_files / 8), Policy::Refuse),
            displaced: Vec::new(),
            has_ended: false,
        };
        Self { triggers: Mutex::new(triggers), changed: Condvar::new(), log: RateLimitedLog::new() }
    }

    /// Stores the triggers in a table from now on. Returns the poll handles of those who wait for the triggers that a
    /// predecessor has stored there: they have to poll again.
    pub(super) fn attach(&self, table: Table<OrphanedTrigger>) -> Vec<u64> {
        let mut triggers = self.triggers.lock();
        let orphaned = triggers.retained.resume(table);
        triggers.orphaned = orphaned.into_iter().map(|(key, trigger)| (key - 1, trigger)).collect();
        triggers.orphaned.values().map(|trigger| trigger.waiter).filter(|&waiter| waiter != 0).collect()
    }

    /// Watches for a trigger from now on.
    ///
    /// # Errors
    /// EBUSY if the open file has one already; ENOSPC where the container has too many, or where there are too many in all and
    /// no other tenant has more.
    pub(super) fn arm(
        &self,
        handle: u64,
        (owner, path): (u64, &[u8]),
        trigger: Trigger,
        file: Option<PressureFile>,
    ) -> Result<(), Errno> {
        // Before the lock is taken: the kernel may take long over this read, and others need the lock.
        let stalled = match &file {
            Some(file) => trigger.stalled(&file.read()?).ok_or(Errno::INVAL)?,
            None => 0,
        };
        let mut triggers = self.triggers.lock();
        if triggers.armed.contains_key(&handle) {
            return Err(Errno::BUSY);
        }
        let is_owners = |armed: &&ArmedTrigger| armed.owner == owner && !armed.is_gone;
        if triggers.armed.values().filter(is_owners).count() >= MAX_TRIGGERS_PER_CONTAINER {
            return Err(Errno::NOSPC);
        }
        let displaced = triggers.retained.claim(key(handle), path).map_err(|_| Errno::NOSPC)?;
        for displaced in displaced {
            let wanted_by = path.escape_ascii();
            self.log.message(
                "displaced trigger",
                Level::Warn,
                format_args!(
                    "all pressure triggers are taken: {wanted_by} gets one of the tenant that has the most"
                ),
            );
            triggers.displace(displaced - 1);
        }
        let now = Instant::now();
        let armed = ArmedTrigger {
            owner,
            file: file.map(Arc::new),
            trigger,
            window: PsiWindow::new(trigger, microseconds(now), stalled),
            due: now + read_interval(trigger),
            has_event: false,
            is_gone: false,
            waiter: 0,
        };
        triggers.armed.insert(handle, armed);
        triggers.orphaned.remove(&handle);
        triggers.store(handle);
        self.changed.notify_one();
        Ok(())
    }

    /// The trigger that this open file had when the last server ended, if nobody has asked for it since.
    pub(super) fn orphaned(&self, handle: u64) -> Option<OrphanedTrigger> {
        self.triggers.lock().orphaned.get(&handle).copied()
    }

    /// Whether there was an event. If not, the poll handle `waiter` is told of the next one, unless it is 0.
    pub(super) fn poll(&self, handle: u64, waiter: u64) -> PollState {
        let mut triggers = self.triggers.lock();
        let Some(armed) = triggers.armed.get_mut(&handle) else { return PollState::Error };
        if armed.is_gone {
            return PollState::Error;
        }
        if std::mem::take(&mut armed.has_event) {
            return PollState::Event;
        }
        if waiter != 0 && armed.waiter != waiter {
            armed.waiter = waiter;
            triggers.store(handle);
        }
        PollState::Nothing
    }

    /// Drops the trigger of an open file that was closed.
    pub(super) fn release(&self, handle: u64) {
        let mut triggers = self.triggers.lock();
        let was_armed = triggers.armed.remove(&handle).is_some();
        if was_armed || triggers.orphaned.remove(&handle).is_some() {
            triggers.retained.release(key(handle));
            if triggers.armed.is_empty() {
                triggers.armed.shrink_to_fit();
            }
        }
    }

    /// Makes [`watch`](Self::watch) return `false`.
    pub(super) fn end(&self) {
        self.triggers.lock().has_ended = true;
        self.changed.notify_one();
    }

    /// Waits until a trigger's pressure is due to be read, reads it, and has `wake` tell the poll handles of those who wait for
    /// an event. Returns whether to go on.
    pub(super) fn watch(&self, wake: impl Fn(u64)) -> bool {
        let began = sys::thread_time();
        let Some(work) = self.wait() else { return false };
        work.displaced.into_iter().for_each(&wake);
        for (handle, file) in work.due {
            self.read(handle, &file, &wake);
        }
        let took = sys::thread_time().saturating_sub(began);
        std::thread::sleep((took * DUTY_CYCLE).min(MAX_PAUSE));
        true
    }

    /// Waits until there is something to do; `None` at the end.
    fn wait(&self) -> Option<Work> {
        let mut triggers = self.triggers.lock();
        let now = Instant::now();
        let next = triggers.armed.values().filter(|armed| !armed.is_gone).map(|armed| armed.due).min();
        if triggers.displaced.is_empty() && !triggers.has_ended {
            match next.map(|next| next.saturating_duration_since(now)) {
                // An idle daemon has no reason to run.
                None => self.changed.wait(&mut triggers),
                Some(Duration::ZERO) => {}
                Some(wait) => drop(self.changed.wait_for(&mut triggers, wait)),
            }
        }
        if triggers.has_ended {
            return None;
        }
        let now = Instant::now();
        let due = triggers.armed.iter_mut().filter(|(_, armed)| armed.due <= now);
        let due = due.filter_map(|(&handle, armed)| {
            armed.due = now + read_interval(armed.trigger);
            Some((handle, Arc::clone(armed.file.as_ref()?)))
        });
        let due = due.collect();
        Some(Work { due, displaced: std::mem::take(&mut triggers.displaced) })
    }

    /// Reads the pressure for one trigger.
    fn read(&self, handle: u64, file: &PressureFile, wake: impl Fn(u64)) {
        let text = file.read();
        let now = microseconds(Instant::now());
        let mut triggers = self.triggers.lock();
        let Triggers { armed, retained, .. } = &mut *triggers;
        // It may have been closed, or have lost its place, meanwhile.
        let Some(armed) = armed.get_mut(&handle).filter(|armed| !armed.is_gone) else { return };
        let is_told = match text {
            Ok(text) => {
                let stalled = armed.trigger.stalled(&text);
                let is_event = stalled.is_some_and(|stalled| armed.window.update(now, stalled));
                armed.has_event |= is_event;
                is_event
            }
            Err(_) => {
                (armed.is_gone, armed.file) = (true, None);
                retained.release(key(handle));
                true
            }
        };
        let waiter = armed.waiter;
        drop(triggers);
        if is_told && waiter != 0 {
            wake(waiter);
        }
    }
}

impl Triggers {
    /// Stores a trigger for a successor.
    fn store(&mut self, handle: u64) {
        let Some(&ArmedTrigger { owner, trigger, waiter, .. }) = self.armed.get(&handle) else { return };
        self.retained.put(key(handle), &OrphanedTrigger { owner, trigger, waiter });
    }

    /// Ends a trigger whose place is another's: whoever polls its file gets an error, as if its cgroup were gone.
    fn displace(&mut self, handle: u64) {
        let Some(armed) = self.armed.get_mut(&handle) else { return };
        (armed.is_gone, armed.file) = (true, None);
        self.displaced.extend((armed.waiter != 0).then_some(armed.waiter));
    }
}

fn read_interval(trigger: Trigger) -> Duration {
    Duration::from_micros(trigger.window.into()) / READS_PER_WINDOW
}

/// A moment in microseconds, on a clock of this process's own.
fn microseconds(now: Instant) -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(now.saturating_duration_since(*START).as_micros()).unwrap_or(u64::MAX)
}
