//! A pressure trigger, under the [key](crate::state::OpenFile::key) of the open file that it was written to.

use crate::state::record::Record;
use cgprocfs_core::psi::{Line, Trigger};
use std::num::NonZeroU64;
use std::time::Duration;

/// Those who poll a file, by the number by which the kernel wakes them (`fuse_poll_in.kh`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PollWaiter(NonZeroU64);

impl PollWaiter {
    /// Those with this number; `None` for 0, which is nobody.
    #[must_use]
    pub fn new(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }

    /// Their number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

/// A trigger whose server has ended: its program still polls the open file, and a successor has to watch on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrphanedTrigger {
    /// The id of the container's cgroup; 0 for the host.
    pub owner: u64,
    /// What is watched for.
    pub trigger: Trigger,
    /// Who is to be woken by an event, if somebody waits.
    pub waiter: Option<PollWaiter>,
}

impl Record for OrphanedTrigger {
    const VERSION: u64 = 1;
    const MAX_WORDS: usize = 4;

    fn save(&self) -> impl Iterator<Item = u64> {
        let line = u64::from(self.trigger.line == Line::Full);
        // Both are at most ten seconds.
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(0);
        let times = micros(self.trigger.threshold) << 32 | micros(self.trigger.window);
        [self.waiter.map_or(0, PollWaiter::get), line, times, self.owner].into_iter()
    }

    fn restore(words: &[u64]) -> Option<Self> {
        let &[waiter, line, times, owner] = words else { return None };
        let line = if line == 0 { Line::Some } else { Line::Full };
        let threshold = Duration::from_micros(times >> 32);
        let window = Duration::from_micros(times & u64::from(u32::MAX));
        Some(Self { owner, trigger: Trigger { line, threshold, window }, waiter: PollWaiter::new(waiter) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_restored_as_it_was_saved() {
        for line in [Line::Some, Line::Full] {
            let trigger =
                Trigger { line, threshold: Duration::from_millis(150), window: Duration::from_secs(10) };
            let record = OrphanedTrigger { owner: u64::MAX, trigger, waiter: PollWaiter::new(7) };
            let words: Vec<u64> = record.save().collect();
            assert_eq!(
                (words.len(), OrphanedTrigger::restore(&words)),
                (OrphanedTrigger::MAX_WORDS, Some(record))
            );
        }
        assert_eq!(OrphanedTrigger::restore(&[1; 3]), None);
    }
}
