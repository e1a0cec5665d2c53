//! The accounts of containers, which outlive what is cached for them.

use super::owner::Owner;
use super::serving_account::{MANY_READERS, ServingAccount};
use crate::shares::{components, dominant, excess};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

/// Accounts by the path of the container: all of its readers use it, also those in cgroups below. Whoever has
/// many cgroups would otherwise end the time in the slow lane by having what is cached for them evicted.
#[derive(Default)]
pub(in crate::service) struct ServingAccounts {
    accounts: Mutex<HashMap<Box<[u8]>, Arc<ServingAccount>>>,
}

/// The most accounts that are remembered.
const MAX_ACCOUNTS: usize = 4096;

impl ServingAccounts {
    /// The account of the container at that path.
    pub(in crate::service) fn of(&self, container: &[u8]) -> Arc<ServingAccount> {
        let mut accounts = self.accounts.lock();
        if let Some(account) = accounts.get(container) {
            return Arc::clone(account);
        }
        if accounts.len() >= MAX_ACCOUNTS {
            retain_needed(&mut accounts);
            let held: Vec<_> = accounts.keys().cloned().collect();
            let held = held.iter().map(|container| (container, &**container, 1));
            for container in excess(held, MAX_ACCOUNTS - MAX_ACCOUNTS / 8) {
                accounts.remove(container);
            }
        }
        Arc::clone(accounts.entry(container.into()).or_default())
    }

    /// The accounts of the containers that were a crowd together in a window: at least `least` microseconds
    /// were used, nearly all of them for many readers in at most three branches, while somebody else read as
    /// well. None of them need be a crowd by itself.
    pub(in crate::service) fn crowd(&self, window: u64, least: u64) -> Vec<Arc<ServingAccount>> {
        let accounts = self.accounts.lock();
        let taken: Vec<_> =
            accounts.iter().map(|(path, account)| (&**path, account, account.in_window(window))).collect();
        let sum = taken.iter().fold(0_u64, |sum, (.., (used, _))| sum.saturating_add(*used));
        if sum < least {
            return Vec::new();
        }
        let mut crowd = Vec::new();
        for branch in dominant(taken.iter().map(|(path, _, (used, _))| (*path, *used))) {
            let is_in_branch = |path: &[u8]| components(path).take(branch.len()).eq(branch.iter().copied());
            let members: Vec<_> =
                taken.iter().filter(|(path, _, (used, _))| *used > 0 && is_in_branch(path)).collect();
            let readers = members.iter().fold(0_u32, |sum, (.., (_, readers))| sum.saturating_add(*readers));
            if readers >= MANY_READERS {
                crowd.extend(members.into_iter().map(|(_, account, _)| Arc::clone(account)));
            }
        }
        crowd
    }

    /// The containers that are in the slow lane.
    pub(in crate::service) fn slow(&self, now: Instant) -> Vec<Owner> {
        let accounts = self.accounts.lock();
        let slow = accounts.iter().filter(|(_, account)| account.is_slow(now));
        slow.map(|(container, _)| Owner::from(&**container)).collect()
    }

    /// Forgets containers that have nothing cached and are not in the slow lane.
    pub(in crate::service) fn sweep(&self) {
        let mut accounts = self.accounts.lock();
        retain_needed(&mut accounts);
        accounts.shrink_to_fit();
    }
}

/// The others lose no more than the account of the last tenth of a second.
fn retain_needed(accounts: &mut HashMap<Box<[u8]>, Arc<ServingAccount>>) {
    let now = Instant::now();
    accounts.retain(|_, account| account.matters(now) || Arc::strong_count(account) > 1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::clock::{as_micros, microseconds};
    use crate::service::scheduling::pace::Pace;
    use crate::service::scheduling::serving_account::{Busyness, ChargeRules};
    use cgprocfs_core::parse::pid::Pid;
    use std::time::Duration;

    const ASIDE: Duration = Duration::from_secs(1);

    #[test]
    fn the_cgroups_of_a_container_have_one_share() {
        let (accounts, now) = (ServingAccounts::default(), Instant::now());
        accounts.of(b"/a").make_slow(now + ASIDE);
        accounts.sweep();
        assert!(accounts.of(b"/a").is_slow(now) && !accounts.of(b"/b").is_slow(now));
        for number in 0..2 * MAX_ACCOUNTS {
            accounts.of(number.to_string().as_bytes());
        }
        assert!(accounts.accounts.lock().len() <= MAX_ACCOUNTS);
    }

    #[test]
    fn what_is_cached_keeps_its_share_and_leaves_it_where_it_matters() {
        let (accounts, now) = (ServingAccounts::default(), Instant::now());
        let [cached, evicted] = [b"/cached", b"/punish"].map(|container| accounts.of(container));
        evicted.make_slow(now + ASIDE);
        drop(evicted);
        accounts.of(b"/no one");
        accounts.sweep();
        assert!(Arc::ptr_eq(&accounts.of(b"/cached"), &cached) && accounts.of(b"/punish").is_slow(now));
        assert_eq!(accounts.accounts.lock().len(), 2);
    }

    #[test]
    fn many_containers_of_one_tenant_are_a_crowd() {
        let (pace, busyness) = (Pace::default(), Busyness::default());
        let began = Instant::now();
        let ended = began + Duration::from_micros(200);
        let charge = |accounts: &ServingAccounts, path: &str, readers: u32| {
            let account = accounts.of(path.as_bytes());
            (0..readers).for_each(|pid| {
                account.charge(ChargeRules::new(&busyness, pace), Pid::new(pid), began, ended)
            });
        };
        let number = microseconds(ended) / as_micros(pace.window);
        let crowd = |held: &[(&str, u32)], least| {
            let accounts = ServingAccounts::default();
            held.iter().for_each(|(path, readers)| charge(&accounts, path, *readers));
            accounts.crowd(number, least).len()
        };
        let tenant: Vec<_> = (0..20).map(|number| format!("/tenant/{number}")).collect();
        let tenant: Vec<_> = tenant.iter().map(|path| (path.as_str(), 4)).collect();
        let beside = [&tenant[..], &[("/other", 1)]].concat();
        assert_eq!(crowd(&beside, 1000), 20);
        assert_eq!(crowd(&beside, 100_000), 0, "there is time for all");
        assert_eq!(crowd(&tenant, 1000), 0, "there is nobody else");
        assert_eq!(crowd(&[("/tenant/a", 3), ("/tenant/b", 4), ("/other", 1)], 100), 0, "few readers");
        let accounts = ServingAccounts::default();
        charge(&accounts, "/a", 32);
        accounts.of(b"/a").charge(
            ChargeRules::new(&busyness, pace),
            Pid::new(1),
            ended + pace.window,
            ended + pace.window,
        );
        let [first, second, third] =
            [number, number + 1, number + 2].map(|window| accounts.of(b"/a").in_window(window).1);
        // Some of the 32 have a bit together: of 64 they set 25 on average.
        assert!((12..=32).contains(&first), "{first}");
        assert_eq!([second, third], [1, 0]);
    }

    #[test]
    fn whoever_has_many_containers_ends_nobody_s_time_in_the_slow_lane() {
        let (accounts, now) = (ServingAccounts::default(), Instant::now());
        let slow: Vec<_> = (0..10).map(|number| format!("/pods/slow/{number}")).collect();
        slow.iter().for_each(|slow| accounts.of(slow.as_bytes()).make_slow(now + 100 * ASIDE));
        for number in 0..2 * MAX_ACCOUNTS {
            accounts.of(format!("/pods/tenant/{number}").as_bytes());
        }
        let are_slow = || slow.iter().all(|slow| accounts.of(slow.as_bytes()).is_slow(now));
        assert!(are_slow());
        for number in 0..2 * MAX_ACCOUNTS {
            accounts.of(format!("/pods/tenant/{number}").as_bytes()).make_slow(now + 100 * ASIDE);
        }
        assert!(are_slow() && accounts.accounts.lock().len() <= MAX_ACCOUNTS);
    }
}
