//! Watches the pressure of containers for the triggers that programs have set.
//!
//! The kernel takes a trigger for a cgroup only from who may write to the cgroup's files, which this process
//! need not be able to. So it reads the pressure itself, ten times a window as the kernel does
//! (`UPDATES_PER_WINDOW`, kernel/sched/psi.c). Where that would take more than a fiftieth of a processor it
//! reads less often, but at least twice in the shortest window.

use crate::kernel::{CgroupId, PressureFile};
use crate::rate_limited_log::RateLimitedLog;
use crate::service::accounts::retained_records::RetainedRecords;
use crate::service::pressure_source::PressureSource;
use crate::shares::Policy;
use crate::state::{MAX_PSI_TRIGGERS, OpenFile, OrphanedTrigger, PollWaiter, Table};
use crate::sys;
use cgprocfs_core::psi::{PsiWindow, Trigger};
use log::Level;
use parking_lot::{Condvar, Mutex};
use rustix::io::Errno;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many triggers one container may have: each costs an open file and the time to read it.
const MAX_TRIGGERS_PER_CONTAINER: usize = 64;
/// How often a trigger's pressure is read in each of its windows.
const READS_PER_WINDOW: u32 = 10;
/// The part of a processor that reading takes at most is the inverse of this.
const DUTY_CYCLE: u32 = 50;
/// The longest pause after reading, however long that took.
const MAX_PAUSE: Duration = Duration::from_millis(250);

/// The triggers, by the open file that a program has written each to.
pub(super) struct PsiMonitor {
    triggers: Mutex<Triggers>,
    /// Notified when there is a new trigger, and at the end.
    changed: Condvar,
    log: RateLimitedLog,
}

struct Triggers {
    armed: HashMap<OpenFile, ArmedTrigger>,
    /// What a predecessor left, until somebody asks for it.
    orphaned: HashMap<OpenFile, OrphanedTrigger>,
    /// By [`OpenFile::key`].
    retained: RetainedRecords<OrphanedTrigger>,
    /// Those who wait for a trigger that has lost its place, and were not told yet.
    displaced: Vec<PollWaiter>,
    /// Whether the monitor is to end.
    has_ended: bool,
}

struct ArmedTrigger {
    /// The container's cgroup; `None` is the host.
    owner: Option<CgroupId>,
    /// `None` where the container's pressure is not known, so that there never is an event.
    pressure: Option<Arc<PressureFile>>,
    trigger: Trigger,
    window: PsiWindow,
    /// When its pressure is to be read next.
    due: Instant,
    has_event: bool,
    /// Whether its pressure is not read any more: its cgroup was removed, or its place is another's.
    is_gone: bool,
    /// Who is to be woken by an event, if somebody waits.
    waiter: Option<PollWaiter>,
}

/// What there is to do.
struct Work {
    /// The open files whose pressure is due to be read.
    due: Vec<(OpenFile, Arc<PressureFile>)>,
    /// Those who wait for a trigger that has lost its place.
    displaced: Vec<PollWaiter>,
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

    /// Stores the triggers in a table from now on. Returns those who wait for the triggers that a predecessor
    /// has stored there: they have to poll again.
    pub(super) fn attach(&self, table: Table<OrphanedTrigger>) -> Vec<PollWaiter> {
        let mut triggers = self.triggers.lock();
        let orphaned = triggers.retained.resume(table);
        triggers.orphaned =
            orphaned.into_iter().map(|(key, trigger)| (OpenFile::of_key(key), trigger)).collect();
        triggers.orphaned.values().filter_map(|trigger| trigger.waiter).collect()
    }

    /// How many triggers there are.
    pub(super) fn armed(&self) -> usize {
        self.triggers.lock().armed.len()
    }

    /// Watches for a trigger from now on.
    ///
    /// # Errors
    /// EBUSY if the open file has one already; ENOSPC where the container has too many, or where there are
    /// too many in all and no other tenant has more.
    pub(super) fn arm(&self, file: OpenFile, trigger: Trigger, source: PressureSource) -> Result<(), Errno> {
        let PressureSource { owner, path, file: pressure } = source;
        // Before the lock is taken: the kernel may take long over this read, and others need the lock.
        let stalled = match &pressure {
            Some(pressure) => trigger.stalled(&pressure.read()?).ok_or(Errno::INVAL)?,
            None => Duration::ZERO,
        };
        let mut triggers = self.triggers.lock();
        if triggers.armed.contains_key(&file) {
            return Err(Errno::BUSY);
        }
        let is_owners = |armed: &&ArmedTrigger| armed.owner == owner && !armed.is_gone;
        if triggers.armed.values().filter(is_owners).count() >= MAX_TRIGGERS_PER_CONTAINER {
            return Err(Errno::NOSPC);
        }
        let displaced = triggers.retained.claim(file.key(), &path).map_err(|_| Errno::NOSPC)?;
        for displaced in displaced {
            let wanted_by = path.escape_ascii();
            self.log.message(
                "displaced trigger",
                Level::Warn,
                format_args!(
                    "all pressure triggers are taken: {wanted_by} gets one of the tenant that has the most"
                ),
            );
            triggers.displace(OpenFile::of_key(displaced));
        }
        let now = Instant::now();
        let armed = ArmedTrigger {
            owner,
            pressure: pressure.map(Arc::new),
            trigger,
            window: PsiWindow::new(trigger, now, stalled),
            due: now + read_interval(trigger),
            has_event: false,
            is_gone: false,
            waiter: None,
        };
        triggers.armed.insert(file, armed);
        triggers.orphaned.remove(&file);
        triggers.store(file);
        self.changed.notify_one();
        Ok(())
    }

    /// The trigger that this open file had when the last server ended, if nobody has asked for it since.
    pub(super) fn orphaned(&self, file: OpenFile) -> Option<OrphanedTrigger> {
        self.triggers.lock().orphaned.get(&file).copied()
    }

    /// Whether there was an event. If not, the next one wakes `waiter`.
    pub(super) fn poll(&self, file: OpenFile, waiter: Option<PollWaiter>) -> PollState {
        let mut triggers = self.triggers.lock();
        let Some(armed) = triggers.armed.get_mut(&file) else { return PollState::Error };
        if armed.is_gone {
            return PollState::Error;
        }
        if std::mem::take(&mut armed.has_event) {
            return PollState::Event;
        }
        if waiter.is_some() && armed.waiter != waiter {
            armed.waiter = waiter;
            triggers.store(file);
        }
        PollState::Nothing
    }

    /// Drops the trigger of an open file that was closed.
    pub(super) fn release(&self, file: OpenFile) {
        let mut triggers = self.triggers.lock();
        let was_armed = triggers.armed.remove(&file).is_some();
        if was_armed || triggers.orphaned.remove(&file).is_some() {
            triggers.retained.release(file.key());
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

    /// Waits until a trigger's pressure is due to be read, reads it, and has `wake` wake those who wait for
    /// an event. Returns whether to go on.
    pub(super) fn watch(&self, wake: impl Fn(PollWaiter)) -> bool {
        let began = sys::thread_time();
        let Some(work) = self.wait() else { return false };
        work.displaced.into_iter().for_each(&wake);
        for (file, pressure) in work.due {
            self.read(file, &pressure, &wake);
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
        let due = due.filter_map(|(&file, armed)| {
            armed.due = now + read_interval(armed.trigger);
            Some((file, Arc::clone(armed.pressure.as_ref()?)))
        });
        let due = due.collect();
        Some(Work { due, displaced: std::mem::take(&mut triggers.displaced) })
    }

    /// Reads the pressure for one trigger.
    fn read(&self, file: OpenFile, pressure: &PressureFile, wake: impl Fn(PollWaiter)) {
        let text = pressure.read();
        let now = Instant::now();
        let mut triggers = self.triggers.lock();
        let Triggers { armed, retained, .. } = &mut *triggers;
        // It may have been closed, or have lost its place, meanwhile.
        let Some(armed) = armed.get_mut(&file).filter(|armed| !armed.is_gone) else { return };
        let is_told = match text {
            Ok(text) => {
                let stalled = armed.trigger.stalled(&text);
                let is_event = stalled.is_some_and(|stalled| armed.window.update(now, stalled));
                armed.has_event |= is_event;
                is_event
            }
            Err(_) => {
                (armed.is_gone, armed.pressure) = (true, None);
                retained.release(file.key());
                true
            }
        };
        let waiter = armed.waiter.filter(|_| is_told);
        drop(triggers);
        waiter.into_iter().for_each(wake);
    }
}

impl Triggers {
    /// Stores a trigger for a successor.
    fn store(&mut self, file: OpenFile) {
        let Some(&ArmedTrigger { owner, trigger, waiter, .. }) = self.armed.get(&file) else { return };
        let owner = owner.map_or(0, CgroupId::get);
        self.retained.put(file.key(), &OrphanedTrigger { owner, trigger, waiter });
    }

    /// Ends a trigger whose place is another's: whoever polls its file gets an error, as if its cgroup were
    /// gone.
    fn displace(&mut self, file: OpenFile) {
        let Some(armed) = self.armed.get_mut(&file) else { return };
        (armed.is_gone, armed.pressure) = (true, None);
        self.displaced.extend(armed.waiter);
    }
}

fn read_interval(trigger: Trigger) -> Duration {
    trigger.window / READS_PER_WINDOW
}
