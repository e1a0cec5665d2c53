//! What keeps a container from taking the serving threads from others.

use super::container_shares::ContainerShares;
use super::pace::Pace;
use super::share::{Busyness, Share};
use super::slow_processes::SlowProcesses;
use std::time::Instant;

/// Who has taken how much of the serving threads, and who waits for itself for that.
pub(in crate::service) struct Fairness {
    /// What counts as slow.
    pub(in crate::service) pace: Pace,
    /// How busy the serving threads are.
    pub(in crate::service) busyness: Busyness,
    /// By container.
    pub(in crate::service) shares: ContainerShares,
    /// The processes whose next request goes to the slow lane.
    pub(in crate::service) slow_processes: SlowProcesses,
}

impl Fairness {
    /// Nobody has taken anything yet.
    pub(in crate::service) fn new(pace: Pace) -> Self {
        let (shares, slow_processes) = (ContainerShares::default(), SlowProcesses::default());
        Self { pace, busyness: Busyness::default(), shares, slow_processes }
    }

    /// Charges a reader of a container for a serving thread from `began` until `ended`.
    pub(in crate::service) fn charge(&self, share: &Share, pid: u32, began: Instant, ended: Instant) {
        share.charge((&self.busyness, self.pace), pid, began, ended);
    }
}
