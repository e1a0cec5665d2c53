//! The counters of accounts under limits and processors that change.

use super::*;
use crate::parse::cpu_list::CpuList;
use proptest::prelude::*;

const SECOND: u64 = 1_000_000_000;

fn cpus(count: usize, quota: Option<u64>, user: u64, system: u64) -> Cpus {
    let time = Some(CpuTime { total: user + system, user, system });
    Cpus { online: CpuList::first(count), allowed: None, quota, time }
}

#[test]
fn a_spinner_on_half_a_processor_leaves_nothing_idle() {
    let mut ledger = CpuAccount::new(10 * SECOND, &cpus(4, Some(500), 0, 0));
    let counters = ledger.advance(20 * SECOND, &cpus(4, Some(500), 5 * SECOND, 0));
    assert_eq!(counters.each, [CpuTimes { user: 5 * SECOND, system: 0, idle: 0 }]);
    let counters = ledger.advance(30 * SECOND, &cpus(4, Some(500), 5 * SECOND, SECOND));
    assert_eq!(counters.all, CpuTimes { user: 5 * SECOND, system: SECOND, idle: 4 * SECOND });
}

#[test]
fn time_is_spread_evenly() {
    let mut ledger = CpuAccount::new(0, &cpus(2, None, 0, 0));
    let counters = ledger.advance(10 * SECOND, &cpus(2, None, 3 * SECOND + 1, 0));
    assert_eq!(
        counters.each.iter().map(|cpu| cpu.user).collect::<Vec<_>>(),
        [SECOND * 3 / 2, SECOND * 3 / 2 + 1]
    );
    assert_eq!(counters.all.idle, 17 * SECOND - 1);
}

/// What was measured was read on a machine where two others wanted each processor; the parts were 11 % too much.
#[test]
fn the_whole_is_what_was_measured() {
    let time = CpuTime { total: 13_970_000_000, user: 739, system: 739 };
    let cpus = Cpus { time: Some(time), ..cpus(1, None, 0, 0) };
    let counters = CpuAccount::new(0, &cpus).advance(20 * SECOND, &cpus);
    assert_eq!((counters.all.user, counters.all.system), (6_985_000_000, 6_985_000_000));
    assert_eq!(counters.all.idle, 6_030_000_000);
}

#[test]
fn neither_part_goes_back_when_the_ratio_changes() {
    let ran = UserSystem::default().until(CpuTime { total: 100, user: 1, system: 1 });
    assert_eq!(ran, UserSystem { user: 50, system: 50 });
    let ran = ran.until(CpuTime { total: 110, user: 9, system: 1 });
    assert_eq!(ran, UserSystem { user: 60, system: 50 });
    let ran = ran.until(CpuTime { total: 120, user: 9, system: 90 });
    assert_eq!(ran, UserSystem { user: 60, system: 60 });
    assert_eq!(
        UserSystem::default().until(CpuTime { total: 9, user: 0, system: 0 }),
        UserSystem { user: 9, system: 0 }
    );
    let most = CpuTime { total: u64::MAX, user: u64::MAX, system: u64::MAX };
    assert_eq!(UserSystem::default().until(most).total(), u64::MAX);
}

#[test]
fn what_was_run_before_the_container_is_not_its_own() {
    let mut ledger = CpuAccount::after(100 * SECOND, 10 * SECOND, &cpus(2, None, 90 * SECOND, 15 * SECOND));
    let counters = ledger.advance(20 * SECOND, &cpus(2, None, 90 * SECOND, 15 * SECOND));
    assert_eq!(counters.all.user + counters.all.system, 5 * SECOND);
    assert_eq!(counters.all.idle, 15 * SECOND);
    let mut ledger = CpuAccount::restore(ledger.save().unwrap()).unwrap();
    let later = ledger.advance(30 * SECOND, &cpus(2, None, 100 * SECOND, 15 * SECOND));
    assert_eq!(later.all.user + later.all.system, 15 * SECOND);
    assert!(later.all.user - counters.all.user > 9 * SECOND, "{counters:?}, then {later:?}");
    assert_eq!(ledger.total(), 115 * SECOND);
}

#[test]
fn idle_time_goes_on_after_a_share_that_was_larger() {
    // Four processors were busy for five minutes before the limit was lowered and anybody looked.
    let now = |second: u64, user: u64| (second * SECOND, cpus(4, Some(500), user * SECOND, 0));
    let (at, share) = now(600, 1200);
    let mut ledger = CpuAccount::new(0, &share);
    let before = ledger.advance(at, &share).all.idle;
    let (at, share) = now(610, 1200);
    let idle = ledger.advance(at, &share).all.idle - before;
    assert!((4 * SECOND..=5 * SECOND).contains(&idle), "{idle}");
}

#[test]
fn words_that_are_no_ledger() {
    assert_eq!(CpuAccount::restore([0; MAX_WORDS]), None);
    assert_eq!(CpuAccount::restore([u64::MAX; MAX_WORDS]), None);
    let mut cut = CpuAccount::new(0, &cpus(2, None, 0, 0)).save().unwrap();
    assert!(CpuAccount::restore(cut.clone()).is_some());
    cut.pop();
    assert_eq!(CpuAccount::restore(cut), None);
    let many = CpuAccount::new(0, &cpus(MAX_CPUS + 1, None, 0, 0));
    assert_eq!(many.save(), None);
    let most = CpuAccount::new(0, &cpus(MAX_CPUS, None, 0, 0));
    assert_eq!(most.save().map(|words| words.len()), Some(MAX_WORDS));
}

#[test]
fn an_earlier_reading_that_comes_later_changes_nothing() {
    let mut ledger = CpuAccount::new(0, &cpus(2, None, 0, 0));
    let later = ledger.advance(10 * SECOND, &cpus(2, None, 8 * SECOND, SECOND));
    assert_eq!(ledger.advance(9 * SECOND, &cpus(2, None, 7 * SECOND, 0)), later);
}

#[test]
fn hidden_processors_come_back_with_what_they_had() {
    let mut ledger = CpuAccount::new(0, &cpus(2, None, 0, 0));
    ledger.advance(10 * SECOND, &cpus(2, None, 8 * SECOND, 0));
    let one = ledger.advance(20 * SECOND, &cpus(2, Some(1000), 8 * SECOND, 0));
    assert_eq!((one.each.len(), one.each[0].user), (1, 4 * SECOND));
    let one = ledger.advance(30 * SECOND, &cpus(2, Some(1000), 10 * SECOND, 0));
    assert_eq!(one.each[0].user, 6 * SECOND);
    let two = ledger.advance(40 * SECOND, &cpus(2, None, 10 * SECOND, 0));
    assert_eq!(two.each.iter().map(|cpu| cpu.user).collect::<Vec<_>>(), [6 * SECOND, 4 * SECOND]);
}

proptest! {
    /// However the kernel samples the parts, they are the whole, and none goes back.
    #[test]
    fn parts_are_the_whole(readings in prop::collection::vec((any::<u64>(), any::<u64>(), any::<u64>()), 1..40)) {
        let mut before = UserSystem::default();
        for (total, user, system) in readings {
            let now = before.until(CpuTime { total, user, system });
            prop_assert!(now.user >= before.user && now.system >= before.system);
            prop_assert_eq!(now.user.checked_add(now.system), Some(total.max(before.total())));
            before = now;
        }
    }

    /// Whatever is used, and whatever share the container gets, no counter goes back; the parts are the whole.
    #[test]
    fn nothing_ever_goes_back(
        steps in prop::collection::vec((0u64..5 * SECOND, 0u64..5 * SECOND, 0u64..SECOND, 1usize..9, prop::option::of(1u64..9000)), 1..60)
    ) {
        let (mut now, mut user, mut system) = (SECOND, 0, 0);
        let mut ledger: Option<CpuAccount> = None;
        let mut before = CpuCounters::default();
        let mut most = 0;
        for (passed, in_programs, in_kernel, count, quota) in steps {
            (now, user, system) = (now + passed, user + in_programs, system + in_kernel);
            let cpus = cpus(count, quota, user, system);
            // It is saved each time, and a restarted daemon goes on with that.
            let mut known = match &ledger {
                Some(ledger) => CpuAccount::restore(ledger.save().unwrap()).unwrap(),
                None => CpuAccount::new(SECOND, &cpus),
            };
            prop_assert_eq!(ledger.as_ref().unwrap_or(&known), &known);
            let counters = known.advance(now, &cpus);
            ledger = Some(known);
            prop_assert_eq!(counters.each.len(), cpus.count());
            prop_assert_eq!((counters.all.user, counters.all.system), (user, system));
            prop_assert!(counters.all.idle >= before.all.idle);
            // No more than all that it ever saw would have been idle since it started.
            most = most.max(counters.each.len() as u64);
            prop_assert!(counters.all.idle <= (now - SECOND) * most);
            for (now, before) in counters.each.iter().zip(&before.each) {
                prop_assert!(now.user >= before.user && now.system >= before.system && now.idle >= before.idle);
            }
            let hidden = ledger.iter().flat_map(|ledger| &ledger.base).skip(counters.each.len());
            let sum = counters.each.iter().chain(hidden).fold(CpuTimes::default(), |sum, cpu| CpuTimes {
                user: sum.user + cpu.user, system: sum.system + cpu.system, idle: sum.idle + cpu.idle,
            });
            prop_assert_eq!(sum, counters.all);
            before = counters;
        }
    }
}
