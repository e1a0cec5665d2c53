//! A pressure trigger, under the [key](OpenFile::key) of the open file that it was written to.

use crate::state::record::Record;
use cgprocfs_core::psi::{Line, Trigger};
use std::num::NonZeroU64;

/// A file that a program has open, by the handle that the kernel was given for it (`fuse_open_out.fh`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OpenFile(u64);

impl OpenFile {
    /// The open file with this handle.
    #[must_use]
    pub const fn new(handle: u64) -> Self {
        Self(handle)
    }

    /// The key under which its trigger is stored: 0 is none, and a handle may be 0.
    #[must_use]
    pub const fn key(self) -> u64 {
        self.0 + 1
    }

    /// The open file whose trigger is stored under a key.
    #[must_use]
    pub const fn of_key(key: u64) -> Self {
        Self(key - 1)
    }
}

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
        let times = u64::from(self.trigger.threshold) << 32 | u64::from(self.trigger.window);
        [self.waiter.map_or(0, PollWaiter::get), line, times, self.owner].into_iter()
    }

    fn restore(words: &[u64]) -> Option<Self> {
        let &[waiter, line, times, owner] = words else { return None };
        let line = if line == 0 { Line::Some } else { Line::Full };
        let threshold = (times >> 32).try_into().ok()?;
        let window = (times & u64::from(u32::MAX)).try_into().ok()?;
        Some(Self { owner, trigger: Trigger { line, threshold, window }, waiter: PollWaiter::new(waiter) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_restored_as_it_was_saved() {
        for line in [Line::Some, Line::Full] {
            let trigger = Trigger { line, threshold: 150_000, window: 10_000_000 };
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
