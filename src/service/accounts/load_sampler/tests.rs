//! What sampling costs, and who is sampled when that is too much.

use super::*;
use crate::kernel::CgroupId;
use crate::service::accounts::tracked_cgroups::Due;
use cgprocfs_core::load_average::{LoadAverages, TaskCounts};
use cgprocfs_core::machine::Machine;
use cgprocfs_core::snapshot::{Container, Scope};
use cgprocfs_core::time::{BootTime, TickRate, Ticks};
use cgprocfs_core::units::Kib;

#[test]
fn what_a_thread_waits_for_does_not_count() {
    let tenants = || {
        let mut turns = Turns::default();
        (0..100).for_each(|number| turns.push(b"/c", number));
        turns
    };
    let (budget, each) = (Duration::from_millis(20), Duration::from_millis(2));
    let mut samples = 0;
    within_budget(tenants(), budget, sys::thread_time, |_: i32| {
        let until = sys::thread_time() + each;
        while sys::thread_time() < until {}
        samples += 1;
    });
    assert!((1..=11).contains(&samples), "{samples}");
    let mut samples = 0;
    within_budget(tenants(), budget, sys::thread_time, |_: i32| {
        std::thread::sleep(Duration::from_millis(1));
        samples += 1;
    });
    assert_eq!(samples, 100);
}

/// A container that has been due for a number of seconds.
fn waiting(path: &str, seconds: u64, now: Instant) -> TrackedCgroup {
    let averages = LoadAverages::default();
    TrackedCgroup {
        path: path.into(),
        accounting: None,
        record: LoadState { averages, at: BootTime::default(), ran: None, start: Ticks::default() },
        reported: [0.0; 3],
        tasks: TaskCounts::default(),
        due: now.checked_sub(Duration::from_secs(seconds)),
        last_requested: now,
        is_sampled: true,
    }
}

#[test]
fn many_expensive_containers_take_a_tenth_of_a_processor_and_delay_nobody() {
    const EXPENSIVE: Duration = Duration::from_millis(60);
    const CHEAP: Duration = Duration::from_micros(200);
    const TENANTS: u64 = 1000;
    let (sampler, now) = (LoadSampler::new(), Instant::now());
    let is_tenants = |id: u64| id < TENANTS;
    let mut all = sampler.tracked.lock();
    for id in 0..TENANTS {
        let path = format!("/pods/tenant{}", format!("/{id}").repeat(10));
        all.insert(CgroupId::new(id), waiting(&path, 100, now));
    }
    for id in TENANTS..TENANTS + 100 {
        all.insert(CgroupId::new(id), waiting(&format!("/pods/{id}"), 0, now));
    }
    let period = all.phase.period();
    let mut sampled = Vec::new();
    for sample in 0..100 {
        let ran = std::cell::Cell::new(Duration::ZERO);
        let now = now + sample * period;
        let mut others = 0;
        let due = all.due(now);
        within_budget(
            due,
            period / TOTAL_DUTY_CYCLE,
            || ran.get(),
            |Due { container, .. }| {
                ran.set(ran.get() + if is_tenants(container.get()) { EXPENSIVE } else { CHEAP });
                if let Some(tracked) = all.by_container.get_mut(&container) {
                    tracked.due = Some(now + period);
                }
                if is_tenants(container.get()) { sampled.push(container.get()) } else { others += 1 }
            },
        );
        assert!(ran.get() < period / TOTAL_DUTY_CYCLE + EXPENSIVE, "{:?}", ran.get());
        assert_eq!(others, 100, "each is sampled each time");
    }
    // None of the tenant's is sampled twice before another.
    assert!(sampled.len() > 700, "{}", sampled.len());
    sampled.sort_unstable();
    sampled.dedup();
    assert!(sampled.len() > 700, "{}", sampled.len());
}

/// While the thread that samples has the table, a request goes to threads that nobody else needs.
#[test]
fn a_serving_thread_does_not_wait_for_the_table() {
    let (sampler, path) = (LoadSampler::new(), b"/pods/1");
    let machine = Machine { page: Kib::new(4), tick_rate: TickRate::new(100) };
    let snapshot = Snapshot::of_memory(None, machine, Scope::Container(Container::default()));
    let caller = Caller { may_take_long: false, ..Caller::in_cgroup(path) };
    let container = CgroupRef { id: CgroupId::new(1), path };
    let request = LoadRequest { container, caller: &caller, snapshot: &snapshot, start_is_certain: true };
    let held = sampler.tracked.lock();
    let refused = std::thread::scope(|scope| {
        scope.spawn(|| matches!(sampler.table_for(&request), Err(Error::TakesLong(_)))).join().unwrap()
    });
    drop(held);
    assert!(refused && sampler.table_for(&request).is_ok());
}
