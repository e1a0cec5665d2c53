//! A pressure trigger, under the number of the open file that it was written to, plus 1.

use crate::state::record::Record;
use cgprocfs_core::psi::{Line, Trigger};

/// A trigger whose server has ended: its program still polls the open file, and a successor has to watch on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrphanedTrigger {
    /// The id of the container's cgroup; 0 for the host.
    pub owner: u64,
    /// What is watched for.
    pub trigger: Trigger,
    /// The poll handle by which the kernel is told of an event; 0 while nobody waits.
    pub waiter: u64,
}

impl Record for OrphanedTrigger {
    const VERSION: u64 = 1;
    const MAX_WORDS: usize = 4;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_restored_as_it_was_saved() {
        for line in [Line::Some, Line::Full] {
            let trigger = Trigger { line, threshold: 150_000, window: 10_000_000 };
            let record = OrphanedTrigger { owner: u64::MAX, trigger, waiter: 7 };
            let words: Vec<u64> = record.save().collect();
            assert_eq!(
                (words.len(), OrphanedTrigger::restore(&words)),
                (OrphanedTrigger::MAX_WORDS, Some(record))
            );
        }
        assert_eq!(OrphanedTrigger::restore(&[1; 3]), None);
    }
}
