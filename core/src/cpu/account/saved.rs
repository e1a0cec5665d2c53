//! An account as words, for another process to go on with.

use super::cpu_account::{CpuAccount, CpuAllotment};
use super::times::{CpuTimes, UserSystem};
use crate::parse::cpu_stat::CpuTime;
use crate::time::{BootTime, Nanos};
use crate::units::MilliCpus;

/// How many processors an account that is saved may have. A larger one is opened anew by another process, as
/// if its allotment had always been what it is then.
const MAX_CPUS: usize = 512;
const HEADER_WORDS: usize = 13;
/// The most words that a saved account has.
pub const MAX_WORDS: usize = HEADER_WORDS + 3 * MAX_CPUS;

impl CpuAccount {
    /// Whether the account is small enough to be [saved](Self::save).
    #[must_use]
    pub fn can_be_saved(&self) -> bool {
        self.base.len() <= MAX_CPUS
    }

    /// The account as [`MAX_WORDS`] words at most, for [`restore`](Self::restore); `None` if it has too many
    /// processors.
    #[must_use]
    pub fn save(&self) -> Option<Vec<u64>> {
        if !self.can_be_saved() {
            return None;
        }
        let CpuAllotment { count, capacity } = self.allotment;
        let head: [u64; HEADER_WORDS] = [
            self.since.as_nanos(),
            self.ran.user.get(),
            self.ran.system.get(),
            self.seen.user.get(),
            self.seen.system.get(),
            count as u64,
            capacity.get(),
            u64::from_ne_bytes(self.idle_balance.to_ne_bytes()),
            self.reported_idle.get(),
            self.base.len() as u64,
            self.before.total.get(),
            self.before.user,
            self.before.system,
        ];
        let base = self.base.iter().flat_map(|cpu| [cpu.user, cpu.system, cpu.idle].map(Nanos::get));
        Some(head.into_iter().chain(base).collect())
    }

    /// The account that was saved as these words; `None` if none was. Words behind it are not taken.
    #[must_use]
    pub fn restore(words: impl IntoIterator<Item = u64>) -> Option<Self> {
        let mut words = words.into_iter();
        let mut head = [0; HEADER_WORDS];
        for word in &mut head {
            *word = words.next()?;
        }
        let [
            since,
            user,
            system,
            seen_user,
            seen_system,
            count,
            capacity,
            idle_balance,
            reported_idle,
            length,
            before @ ..,
        ] = head;
        let number = |word: u64| usize::try_from(word).ok().filter(|&number| number <= MAX_CPUS);
        let (count, length) = (number(count)?, number(length)?);
        let mut time = || words.next().map(Nanos::new);
        let mut cpu = || Some(CpuTimes { user: time()?, system: time()?, idle: time()? });
        let base = (0..length).map(|_| cpu()).collect::<Option<Vec<_>>>()?;
        let [total, before_user, before_system] = before;
        let parts = |user, system| UserSystem { user: Nanos::new(user), system: Nanos::new(system) };
        (0 < count && count <= length).then_some(Self {
            before: CpuTime { total: Nanos::new(total), user: before_user, system: before_system },
            since: BootTime::from_nanos(since),
            ran: parts(user, system),
            seen: parts(seen_user, seen_system),
            allotment: CpuAllotment { count, capacity: MilliCpus::new(capacity) },
            idle_balance: i64::from_ne_bytes(idle_balance.to_ne_bytes()),
            reported_idle: Nanos::new(reported_idle),
            base,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::processors::Cpus;
    use crate::parse::cpu_list::CpuList;

    fn account(count: usize) -> CpuAccount {
        CpuAccount::new(BootTime::default(), &Cpus { online: CpuList::first(count), ..Cpus::default() })
    }

    #[test]
    fn words_that_are_no_account() {
        assert_eq!(CpuAccount::restore([0; MAX_WORDS]), None);
        assert_eq!(CpuAccount::restore([u64::MAX; MAX_WORDS]), None);
        let mut cut = account(2).save().unwrap();
        assert!(CpuAccount::restore(cut.clone()).is_some());
        cut.pop();
        assert_eq!(CpuAccount::restore(cut), None);
        let many = account(MAX_CPUS + 1);
        assert_eq!(many.save(), None);
        let most = account(MAX_CPUS);
        assert_eq!(most.save().map(|words| words.len()), Some(MAX_WORDS));
    }
}
