//! Processes of a tenant that cannot be looked at.

use super::hang::HeldExec;
use super::{LOAD, alone, ask, assert_is_the_same, table, tenant};
use crate::common::cgroup::Cgroup;
use crate::common::daemon::{Deadline, supervised};
use crate::common::victim::{LIMIT, Pair, Victim};
use crate::common::{MOUNT, allowed, output};
use libtest_mimic::Trial;
use std::time::{Duration, Instant};

pub fn tests() -> Vec<Trial> {
    tests! {
        alone(MOUNT) => [
            hanging_exec = || {
            hanging_exec("an exec that hangs, and others that ask for the container's age", |tenant| {
                (HeldExec::new(tenant), Vec::new())
            });
        },
            hanging_exec_of_init = || {
            hanging_exec("the same, where it is the container's init that hangs", |tenant| {
                let held = HeldExec::init(tenant, &["pid", "cgroup"]);
                let enter = held.enter();
                (held, enter)
            });
        },
            hanging_exec_of_an_init_that_is_searched_for = || {
            hanging_exec("the same, and others have entered nothing but its pid namespace", |tenant| {
                let held = HeldExec::init(tenant, &["pid"]);
                let enter = held.enter();
                (held, enter)
            });
        },
            hanging_execs_in_many_cgroups,
            hanging_exec_and_the_load_of_others,
        ],
    }
}

/// What takes to know how old the container is, for which its processes are looked at.
const AGE: [&str; 3] = ["proc/uptime", "proc/stat", "proc/loadavg"];

/// Whoever asks waits no longer for his own answer, be it an error.
const PATIENCE: Duration = Duration::from_secs(4);

/// A process of the tenant can't be looked at, and its others ask for what would take just that.
fn hanging_exec(row: &str, hang: impl FnOnce(&Cgroup) -> (HeldExec, Vec<String>)) {
    let (daemon, other, tenant) = (supervised(), Cgroup::new().limit(LIMIT), Cgroup::new().limit(64));
    let _deadline = Deadline::new(&daemon);
    let server = daemon.children();
    let pair = Pair::start(&daemon);
    let ages = AGE.map(|view| Victim::start(&other, daemon.path(view).to_str().unwrap(), &[]));
    let (held, enter) = hang(&tenant);
    let asked = Instant::now();
    let two_of_each = AGE.iter().flat_map(|view| [view; 2]);
    let mut waiting: Vec<_> = two_of_each.map(|view| (view, ask(&tenant, &enter, &daemon, view))).collect();
    let mut answers = Vec::new();
    while asked.elapsed() < 3 * LOAD {
        waiting.retain_mut(|(view, reader)| {
            let is_answered = reader.try_wait().unwrap().is_some();
            answers.extend(is_answered.then(|| (*view, asked.elapsed())));
            !is_answered
        });
        std::thread::sleep(Duration::from_millis(50));
    }
    let (beside, ages) = (pair.end(&daemon), ages.map(|age| age.end(&daemon)));
    drop(held);
    let never: Vec<&str> = waiting.iter().map(|(view, _)| **view).collect();
    println!(
        "isolation: beside an exec that hangs, the tenant's own: {answers:.2?}, and not at all {never:?}"
    );
    waiting.iter_mut().for_each(|(_, reader)| drop(reader.wait()));
    for (view, age) in AGE.iter().zip(&ages) {
        println!("isolation: beside {row}, {view}: {age}");
    }
    table::note(row, &beside);
    beside.check();
    ages.iter().for_each(|age| beside.holds(age));
    assert_is_the_same(&daemon, &server);
    let late = answers.iter().find(|(_, took)| *took > allowed(PATIENCE));
    assert!(never.is_empty() && late.is_none(), "the tenant waits for itself: {late:?}, {never:?}");
}

/// In each of many cgroups of a tenant a process can't be looked at, and another one asks how old its
/// container is. Nobody knows yet how old others are.
fn hanging_execs_in_many_cgroups() {
    /// More than there are threads that look.
    const COUNT: usize = 60;
    const FRESH: usize = 10;
    let (daemon, tenant) = (supervised(), Cgroup::new().limit(256));
    let _deadline = Deadline::new(&daemon);
    let server = daemon.children();
    let cgroups: Vec<_> = (0..COUNT).map(|number| tenant.child(number.to_string())).collect();
    let fresh: Vec<_> = (0..FRESH).map(|_| Cgroup::new().limit(LIMIT)).collect();
    let eldest = |cgroup: &Cgroup| cgroup.command(&["sleep", "1000"]).spawn().unwrap();
    let mut eldest: Vec<_> = fresh.iter().map(eldest).collect();
    let born = Instant::now();
    let held = HeldExec::in_each(&cgroups);
    let pair = Pair::start(&daemon);
    // One after the other: what it takes to start sixty programs at once is not what is to be seen here.
    let ask_age = |cgroup| {
        std::thread::sleep(allowed(Duration::from_millis(10)));
        ask(cgroup, &[], &daemon, "proc/uptime")
    };
    let mut waiting: Vec<_> = cgroups.iter().map(ask_age).collect();
    let uptime = daemon.path("proc/uptime");
    let uptime = uptime.to_str().unwrap();
    let first_reads = |cgroup: &Cgroup| {
        let (age, victim) = (born.elapsed(), Victim::start(cgroup, uptime, &[]));
        let text = output(&mut cgroup.command(&["cat", uptime]));
        (victim.end(&daemon), text.split(' ').next().unwrap().parse::<f64>().unwrap(), age)
    };
    let (at_once, later) = fresh.split_at(FRESH / 2);
    let mut seen: Vec<_> = at_once.iter().map(first_reads).collect();
    // Until all of them would be known to hang.
    std::thread::sleep(LOAD);
    seen.extend(later.iter().map(first_reads));
    let beside = pair.end(&daemon);
    drop(held);
    waiting.iter_mut().chain(&mut eldest).for_each(|process| drop(process.kill()));
    waiting.iter_mut().chain(&mut eldest).for_each(|process| drop(process.wait()));
    cgroups.into_iter().for_each(Cgroup::remove);
    for (seen, uptime, age) in &seen {
        println!(
            "isolation: a container of {age:.1?} reads its uptime, {uptime}, for the first time: {seen}"
        );
    }
    table::note(&format!("{COUNT} execs that hang, each in a cgroup of its own"), &beside);
    beside.check();
    for (seen, uptime, age) in &seen {
        beside.holds(seen);
        assert!(*uptime > age.as_secs_f64() - 0.1, "{uptime}, and its first process is older than {age:?}");
    }
    assert_is_the_same(&daemon, &server);
}

/// Two of a container start to spin while a process of another, which is sampled too, can't be looked at.
fn hanging_exec_and_the_load_of_others() {
    let (daemon, other, tenant) = (supervised(), Cgroup::new().limit(64), Cgroup::new().limit(64));
    let _deadline = Deadline::new(&daemon);
    let load = |cgroup: &Cgroup| {
        let path = daemon.path("proc/loadavg");
        let text = output(&mut cgroup.command(&["cat", path.to_str().unwrap()]));
        text.split(' ').next().unwrap().parse::<f64>().unwrap()
    };
    // From now on both are sampled.
    let quiet = [&tenant, &other].map(load);
    let spinners = tenant::start(&other, "spin", &["2"]);
    let held = HeldExec::new(&tenant);
    // In 15 seconds two of them come to 0.44, of which the next sample may be five seconds late.
    let (start, mut now) = (Instant::now(), quiet[1]);
    while start.elapsed() < allowed(4 * LOAD) && now < quiet[1] + 0.25 {
        std::thread::sleep(Duration::from_millis(500));
        now = load(&other);
    }
    drop(held);
    drop(spinners);
    println!("isolation: the load of another: {} before, {now} after {:.0?}", quiet[1], start.elapsed());
    assert!(now >= quiet[1] + 0.25, "it does not move: {} and then {now}", quiet[1]);
}
