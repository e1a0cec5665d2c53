//! The CPU account of a container, under the id of its cgroup.

use crate::state::record::Record;
use cgprocfs_core::cpu::account::{CpuAccount, MAX_WORDS};
use cgprocfs_core::time::{BootTime, Ticks};

/// A CPU account, and what tells its container from a later one in the same cgroup.
pub struct ContainerAccount {
    /// When the container started, after the host's boot. What is first learnt of that is kept, so that the
    /// container's age does not go back when its oldest process ends.
    pub start: Ticks,
    /// When the container was last known to run.
    pub last_seen: BootTime,
    /// Whether it had an init process then.
    pub had_init: bool,
    /// What its processors have counted.
    pub account: CpuAccount,
}

impl Record for ContainerAccount {
    const VERSION: u64 = 2;
    const MAX_WORDS: usize = 3 + MAX_WORDS;

    /// An account that is too large to be saved leaves only the times, which are not restored.
    fn save(&self) -> impl Iterator<Item = u64> {
        [self.start.get(), self.last_seen.as_nanos(), self.had_init.into()]
            .into_iter()
            .chain(self.account.save().unwrap_or_default())
    }

    fn restore(words: &[u64]) -> Option<Self> {
        let (&[start, last_seen, had_init], account) = words.split_first_chunk()?;
        let account = CpuAccount::restore(account.iter().copied())?;
        let last_seen = BootTime::from_nanos(last_seen);
        Some(Self { start: Ticks::new(start), last_seen, had_init: had_init != 0, account })
    }
}
