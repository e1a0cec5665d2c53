//! An account over changes of the share, and over readings out of order.

use super::{CpuAccount, CpuCounters, CpuTimes};
use crate::cpu::processors::Cpus;
use crate::parse::cpu_list::CpuList;
use crate::parse::cpu_stat::CpuTime;
use crate::time::{BootTime, Nanos};
use crate::units::MilliCpus;
use proptest::prelude::*;

const SECOND: Nanos = Nanos::SECOND;
const NONE: Nanos = Nanos::ZERO;

fn seconds(count: u64) -> Nanos {
    SECOND.times(count)
}

fn at(second: u64) -> BootTime {
    BootTime::from_nanos(seconds(second).get())
}

fn cpus(count: usize, quota: Option<u64>, user: Nanos, system: Nanos) -> Cpus {
    let time = Some(CpuTime { total: user + system, user: user.get(), system: system.get() });
    Cpus { online: CpuList::first(count), quota: quota.map(MilliCpus::new), time, ..Cpus::default() }
}

#[test]
fn a_spinner_on_half_a_processor_leaves_nothing_idle() {
    let mut account = CpuAccount::new(at(10), &cpus(4, Some(500), NONE, NONE));
    let counters = account.advance(at(20), &cpus(4, Some(500), seconds(5), NONE));
    assert_eq!(counters.each, [CpuTimes { user: seconds(5), system: NONE, idle: NONE }]);
    let counters = account.advance(at(30), &cpus(4, Some(500), seconds(5), SECOND));
    assert_eq!(counters.all, CpuTimes { user: seconds(5), system: SECOND, idle: seconds(4) });
}

#[test]
fn time_is_spread_evenly() {
    let mut account = CpuAccount::new(at(0), &cpus(2, None, NONE, NONE));
    let counters = account.advance(at(10), &cpus(2, None, seconds(3) + Nanos::new(1), NONE));
    assert_eq!(
        counters.each.iter().map(|cpu| cpu.user).collect::<Vec<_>>(),
        [Nanos::new(1_500_000_000), Nanos::new(1_500_000_001)]
    );
    assert_eq!(counters.all.idle, seconds(17) - Nanos::new(1));
}

/// What was measured was read on a machine where two others wanted each processor; the parts were 11 % too
/// much.
#[test]
fn the_whole_is_what_was_measured() {
    let time = CpuTime { total: Nanos::new(13_970_000_000), user: 739, system: 739 };
    let cpus = Cpus { time: Some(time), ..cpus(1, None, NONE, NONE) };
    let counters = CpuAccount::new(at(0), &cpus).advance(at(20), &cpus);
    assert_eq!(
        (counters.all.user, counters.all.system),
        (Nanos::new(6_985_000_000), Nanos::new(6_985_000_000))
    );
    assert_eq!(counters.all.idle, Nanos::new(6_030_000_000));
}

#[test]
fn what_was_run_before_the_container_is_not_its_own() {
    let mut account = CpuAccount::after(seconds(100), at(10), &cpus(2, None, seconds(90), seconds(15)));
    let counters = account.advance(at(20), &cpus(2, None, seconds(90), seconds(15)));
    assert_eq!(counters.all.user + counters.all.system, seconds(5));
    assert_eq!(counters.all.idle, seconds(15));
    let mut account = CpuAccount::restore(account.save().unwrap()).unwrap();
    let later = account.advance(at(30), &cpus(2, None, seconds(100), seconds(15)));
    assert_eq!(later.all.user + later.all.system, seconds(15));
    assert!(later.all.user - counters.all.user > seconds(9), "{counters:?}, then {later:?}");
    assert_eq!(account.total(), seconds(115));
}

#[test]
fn idle_time_goes_on_after_a_share_that_was_larger() {
    // Four processors were busy for five minutes before the limit was lowered and anybody looked.
    let now = |second: u64, user: u64| (at(second), cpus(4, Some(500), seconds(user), NONE));
    let (moment, share) = now(600, 1200);
    let mut account = CpuAccount::new(at(0), &share);
    let before = account.advance(moment, &share).all.idle;
    let (moment, share) = now(610, 1200);
    let idle = account.advance(moment, &share).all.idle - before;
    assert!((seconds(4)..=seconds(5)).contains(&idle), "{idle:?}");
}

#[test]
fn an_earlier_reading_that_comes_later_changes_nothing() {
    let mut account = CpuAccount::new(at(0), &cpus(2, None, NONE, NONE));
    let later = account.advance(at(10), &cpus(2, None, seconds(8), SECOND));
    assert_eq!(account.advance(at(9), &cpus(2, None, seconds(7), NONE)), later);
}

#[test]
fn hidden_processors_come_back_with_what_they_had() {
    let mut account = CpuAccount::new(at(0), &cpus(2, None, NONE, NONE));
    account.advance(at(10), &cpus(2, None, seconds(8), NONE));
    let one = account.advance(at(20), &cpus(2, Some(1000), seconds(8), NONE));
    assert_eq!((one.each.len(), one.each[0].user), (1, seconds(4)));
    let one = account.advance(at(30), &cpus(2, Some(1000), seconds(10), NONE));
    assert_eq!(one.each[0].user, seconds(6));
    let two = account.advance(at(40), &cpus(2, None, seconds(10), NONE));
    assert_eq!(two.each.iter().map(|cpu| cpu.user).collect::<Vec<_>>(), [seconds(6), seconds(4)]);
}

proptest! {
    /// Whatever is used, and whatever share the container gets, no counter goes back; the parts are the
    /// whole.
    #[test]
    fn nothing_ever_goes_back(
        steps in prop::collection::vec((0u64..5_000_000_000, 0u64..5_000_000_000, 0u64..1_000_000_000, 1usize..9, prop::option::of(1u64..9000)), 1..60)
    ) {
        let (mut now, mut user, mut system) = (at(1), NONE, NONE);
        let mut account: Option<CpuAccount> = None;
        let mut before = CpuCounters::default();
        let mut most = 0;
        for (passed, in_programs, in_kernel, count, quota) in steps {
            now = now.after(Nanos::new(passed));
            (user, system) = (user + Nanos::new(in_programs), system + Nanos::new(in_kernel));
            let cpus = cpus(count, quota, user, system);
            // It is saved each time, and a restarted daemon goes on with that.
            let mut known = match &account {
                Some(account) => CpuAccount::restore(account.save().unwrap()).unwrap(),
                None => CpuAccount::new(at(1), &cpus),
            };
            prop_assert_eq!(account.as_ref().unwrap_or(&known), &known);
            let counters = known.advance(now, &cpus);
            account = Some(known);
            prop_assert_eq!(counters.each.len(), cpus.count());
            prop_assert_eq!((counters.all.user, counters.all.system), (user, system));
            prop_assert!(counters.all.idle >= before.all.idle);
            // No more than all that it ever saw would have been idle since it started.
            most = most.max(counters.each.len() as u64);
            prop_assert!(counters.all.idle <= now.since(at(1)).times(most));
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
