//! Which slots of the table are free, and whose the others are.

use super::clock::Moment;
use super::request::Unique;
use crate::shares::excess;
use std::collections::HashMap;
use std::sync::Arc;

/// How many requests the table has room for, whether a thread is busy with them or they wait for one.
pub(crate) const MAX_REQUESTS: usize = 4096;
/// Slots that waiting requests leave free for those that threads begin with: any number may wait for a slow
/// tenant.
pub(crate) const RESERVED: usize = MAX_REQUESTS / 4;

/// What this process knows of the slots.
#[derive(Default)]
pub(crate) struct Slots {
    pub(crate) free: Vec<usize>,
    /// The slots of requests that wait for a thread, and the cgroups of those who wait.
    pub(crate) waiting: HashMap<usize, Arc<[u8]>>,
    /// The slots of requests that a predecessor has fetched and the kernel is to give out again, and how many
    /// servers have ended while they had them.
    pub(crate) resent: HashMap<Unique, (usize, u32)>,
    /// When the kernel was asked to.
    pub(crate) resend_asked: Moment,
}

impl Slots {
    /// A slot whose request waits for a thread, on behalf of `cgroup`.
    pub(crate) fn set_waiting(&mut self, slot: usize, cgroup: &Arc<[u8]>) {
        self.waiting.insert(slot, Arc::clone(cgroup));
    }

    /// A slot whose request waits no longer.
    pub(crate) fn stop_waiting(&mut self, slot: usize) {
        // Nearly always none waits.
        if !self.waiting.is_empty() && self.waiting.remove(&slot).is_some() && self.waiting.is_empty() {
            self.waiting.shrink_to_fit();
        }
    }

    /// Slots that waiting requests have to give up so that enough are free: those of the heaviest branch of
    /// the hierarchy.
    pub(crate) fn over_limit(&self) -> Vec<usize> {
        if self.free.len() >= RESERVED {
            return Vec::new();
        }
        let held = self.waiting.iter().map(|(&slot, cgroup)| (slot, &**cgroup, 1));
        // An eighth more than necessary, so that this is seldom done.
        excess(held, (self.waiting.len() + self.free.len()).saturating_sub(RESERVED) * 7 / 8)
    }
}
