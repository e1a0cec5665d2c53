//! An account over changes of the share, and over readings out of order.

use super::{CpuAccount, CpuCounters, CpuTimes};
use crate::cpu::processors::Cpus;
use crate::machine::BootTime;
use crate::parse::cpu_list::CpuList;
use crate::parse::cpu_stat::CpuTime;
use crate::units::MilliCpus;
use proptest::prelude::*;

const SECOND: u64 = 1_000_000_000;

fn at(second: u64) -> BootTime {
    BootTime::from_nanos(second * SECOND)
}

fn cpus(count: usize, quota: Option<u64>, user: u64, system: u64) -> Cpus {
    let time = Some(CpuTime { total: user + system, user, system });
    Cpus { online: CpuList::first(count), quota: quota.map(MilliCpus::new), time, ..Cpus::default() }
}

#[test]
fn a_spinner_on_half_a_processor_leaves_nothing_idle() {
    let mut account = CpuAccount::new(at(10), &cpus(4, Some(500), 0, 0));
    let counters = account.advance(at(20), &cpus(4, Some(500), 5 * SECOND, 0));
    assert_eq!(counters.each, [CpuTimes { user: 5 * SECOND, system: 0, idle: 0 }]);
    let counters = account.advance(at(30), &cpus(4, Some(500), 5 * SECOND, SECOND));
    assert_eq!(counters.all, CpuTimes { user: 5 * SECOND, system: SECOND, idle: 4 * SECOND });
}

#[test]
fn time_is_spread_evenly() {
    let mut account = CpuAccount::new(at(0), &cpus(2, None, 0, 0));
    let counters = account.advance(at(10), &cpus(2, None, 3 * SECOND + 1, 0));
    assert_eq!(
        counters.each.iter().map(|cpu| cpu.user).collect::<Vec<_>>(),
        [SECOND * 3 / 2, SECOND * 3 / 2 + 1]
    );
    assert_eq!(counters.all.idle, 17 * SECOND - 1);
}

/// What was measured was read on a machine where two others wanted each processor; the parts were 11 % too
/// much.
#[test]
fn the_whole_is_what_was_measured() {
    let time = CpuTime { total: 13_970_000_000, user: 739, system: 739 };
    let cpus = Cpus { time: Some(time), ..cpus(1, None, 0, 0) };
    let counters = CpuAccount::new(at(0), &cpus).advance(at(20), &cpus);
    assert_eq!((counters.all.user, counters.all.system), (6_985_000_000, 6_985_000_000));
    assert_eq!(counters.all.idle, 6_030_000_000);
}

#[test]
fn what_was_run_before_the_container_is_not_its_own() {
    let mut account = CpuAccount::after(100 * SECOND, at(10), &cpus(2, None, 90 * SECOND, 15 * SECOND));
    let counters = account.advance(at(20), &cpus(2, None, 90 * SECOND, 15 * SECOND));
    assert_eq!(counters.all.user + counters.all.system, 5 * SECOND);
    assert_eq!(counters.all.idle, 15 * SECOND);
    let mut account = CpuAccount::restore(account.save().unwrap()).unwrap();
    let later = account.advance(at(30), &cpus(2, None, 100 * SECOND, 15 * SECOND));
    assert_eq!(later.all.user + later.all.system, 15 * SECOND);
    assert!(later.all.user - counters.all.user > 9 * SECOND, "{counters:?}, then {later:?}");
    assert_eq!(account.total(), 115 * SECOND);
}

#[test]
fn idle_time_goes_on_after_a_share_that_was_larger() {
    // Four processors were busy for five minutes before the limit was lowered and anybody looked.
    let now = |second: u64, user: u64| (at(second), cpus(4, Some(500), user * SECOND, 0));
    let (moment, share) = now(600, 1200);
    let mut account = CpuAccount::new(at(0), &share);
    let before = account.advance(moment, &share).all.idle;
    let (moment, share) = now(610, 1200);
    let idle = account.advance(moment, &share).all.idle - before;
    assert!((4 * SECOND..=5 * SECOND).contains(&idle), "{idle}");
}

#[test]
fn an_earlier_reading_that_comes_later_changes_nothing() {
    let mut account = CpuAccount::new(at(0), &cpus(2, None, 0, 0));
    let later = account.advance(at(10), &cpus(2, None, 8 * SECOND, SECOND));
    assert_eq!(account.advance(at(9), &cpus(2, None, 7 * SECOND, 0)), later);
}

#[test]
fn hidden_processors_come_back_with_what_they_had() {
    let mut account = CpuAccount::new(at(0), &cpus(2, None, 0, 0));
    account.advance(at(10), &cpus(2, None, 8 * SECOND, 0));
    let one = account.advance(at(20), &cpus(2, Some(1000), 8 * SECOND, 0));
    assert_eq!((one.each.len(), one.each[0].user), (1, 4 * SECOND));
    let one = account.advance(at(30), &cpus(2, Some(1000), 10 * SECOND, 0));
    assert_eq!(one.each[0].user, 6 * SECOND);
    let two = account.advance(at(40), &cpus(2, None, 10 * SECOND, 0));
    assert_eq!(two.each.iter().map(|cpu| cpu.user).collect::<Vec<_>>(), [6 * SECOND, 4 * SECOND]);
}

proptest! {
    /// Whatever is used, and whatever share the container gets, no counter goes back; the parts are the
    /// whole.
    #[test]
    fn nothing_ever_goes_back(
        steps in prop::collection::vec((0u64..5 * SECOND, 0u64..5 * SECOND, 0u64..SECOND, 1usize..9, prop::option::of(1u64..9000)), 1..60)
    ) {
        let (mut now, mut user, mut system) = (SECOND, 0, 0);
        let mut account: Option<CpuAccount> = None;
        let mut before = CpuCounters::default();
        let mut most = 0;
        for (passed, in_programs, in_kernel, count, quota) in steps {
            (now, user, system) = (now + passed, user + in_programs, system + in_kernel);
            let cpus = cpus(count, quota, user, system);
            // It is saved each time, and a restarted daemon goes on with that.
            let mut known = match &account {
                Some(account) => CpuAccount::restore(account.save().unwrap()).unwrap(),
                None => CpuAccount::new(at(1), &cpus),
            };
            prop_assert_eq!(account.as_ref().unwrap_or(&known), &known);
            let counters = known.advance(BootTime::from_nanos(now), &cpus);
            account = Some(known);
            prop_assert_eq!(counters.each.len(), cpus.count());
            prop_assert_eq!((counters.all.user, counters.all.system), (user, system));
            prop_assert!(counters.all.idle >= before.all.idle);
            // No more than all that it ever saw would have been idle since it started.
            most = most.max(counters.each.len() as u64);
            prop_assert!(counters.all.idle <= (now - SECOND) * most);
            for (now, before) in counters.each.iter().zip(&before.each) {
                prop_assert!(now.user >= before.user && now.system >= before.system && now.idle >= before.idle);
            }
            let hidden = account.iter().flat_map(|account| account.base()).skip(counters.each.len());
            let sum = counters.each.iter().chain(hidden).fold(CpuTimes::default(), |sum, cpu| CpuTimes {
                user: sum.user + cpu.user, system: sum.system + cpu.system, idle: sum.idle + cpu.idle,
            });
            prop_assert_eq!(sum, counters.all);
            before = counters;
        }
    }
}
