//! Many triggers, and those whose container or daemon is gone.

use super::{Container, TRIGGER, VIEW, watchable};
use crate::common::helper::Running;
use crate::common::{Need, test, wait_until};
use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

pub fn tests() -> Vec<Trial> {
    const NEEDS: &[Need] = &[Need::Root, Need::Fuse, Need::Pressure, Need::Program("taskset")];
    tests! {
        test(NEEDS) => [
            a_thousand,
            a_tenant_with_many_cgroups,
            a_removed_cgroup,
            a_trigger_stays_with_its_container,
            a_trigger_outlives_its_daemon,
        ],
    }
}

/// Whatever cgroups it makes, another container has its triggers at once, and it loses some of its own.
fn a_tenant_with_many_cgroups() {
    let (daemon, tenant, other) = (watchable(&[]), Container::new(), Container::new());
    let children: Vec<_> = (0..20).map(|number| tenant.child(&number.to_string())).collect();
    let mut watches: Vec<_> =
        children.iter().map(|child| child.watch(&daemon.path(VIEW), 65, TRIGGER)).collect();
    let armed = |watch: &mut Running| watch.ask().split_once(' ').unwrap().0.parse::<u32>().unwrap();
    let armed: Vec<u32> = watches.iter_mut().map(armed).collect();
    println!("triggers: a tenant's cgroups had {armed:?}");
    assert!(armed.iter().sum::<u32>() >= 1024, "nobody else wanted them");
    let mut one = other.watch(&daemon.path(VIEW), 10, TRIGGER);
    assert_eq!(one.ask(), "10 []");
    let told = watches[0].ask();
    assert_ne!(told.split_once(' ').unwrap().1, "0", "those that lost theirs are told");
    let _spinners = other.stall();
    let told = one.ask();
    assert!(told != "0 0" && told.ends_with(" 0"), "{told}");
    let log = daemon.log();
    assert_eq!(log.matches("pressure triggers are taken").count(), 1, "{log}");
}

/// One container may have 64, another is not hindered, and closing gives all back.
fn a_thousand() {
    let (daemon, container, other) = (watchable(&[]), Container::new(), Container::new());
    for _ in 0..2 {
        let mut many = container.watch(&daemon.path(VIEW), 1000, TRIGGER);
        assert_eq!(many.ask(), format!("64 [{}]", libc::ENOSPC));
        assert_eq!(daemon.opened("cpu.pressure"), 64);
        let mut one = other.watch(&daemon.path(VIEW), 1, TRIGGER);
        assert_eq!(one.ask(), "1 []");
        let spinners = other.stall();
        assert_eq!(one.ask(), "1 0");
        drop(spinners);
        assert_eq!(many.ask(), "0 0", "of another container's pressure it hears nothing");
        drop((many, one));
        wait_until("all are closed", || daemon.opened("cpu.pressure") == 0);
    }
    // Closed while others are polled, and without ever having been.
    let open_and_close = || {
        for _ in 0..1000 {
            let mut file = OpenOptions::new().read(true).write(true).open(daemon.path(VIEW)).unwrap();
            file.write_all(format!("{TRIGGER}\n").as_bytes()).unwrap();
        }
    };
    // What is opened at the moment of a close gets the number of that.
    std::thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(open_and_close))));
    assert_eq!(daemon.log().lines().count(), 1, "{}", daemon.log());
}

/// Its program has gone elsewhere and still polls.
fn a_removed_cgroup() {
    let (daemon, container) = (watchable(&[]), Container::new());
    let mut watch = container.watch(&daemon.path(VIEW), 1, TRIGGER);
    assert_eq!(watch.ask(), "1 []");
    let pid = watch.process.id().to_string();
    let away = Container::new();
    fs::write(away.procs(), &pid).unwrap();
    fs::write(away.memory.dir.join("cgroup.procs"), &pid).unwrap();
    drop(container);
    assert_eq!(watch.ask(), "1 1");
    assert_eq!(watch.ask(), "1 1", "it stays so");
    let before = daemon.processor_time();
    std::thread::sleep(Duration::from_secs(2));
    let used = daemon.processor_time() - before;
    assert!(used < 0.04, "{used} s: there is nothing to look at any more");
}

/// Whoever has the open file after a restart is not told of the pressure of another container.
fn a_trigger_stays_with_its_container() {
    let daemon = watchable(&["--supervise"]);
    let (container, other) = (Container::new(), Container::new());
    let mut watch = container.watch(&daemon.path(VIEW), 1, TRIGGER);
    assert_eq!(watch.ask(), "1 []");
    let pid = watch.process.id().to_string();
    fs::write(other.procs(), &pid).unwrap();
    fs::write(other.memory.dir.join("cgroup.procs"), &pid).unwrap();
    let before = crate::common::load::children(daemon.pid());
    daemon.signal(Signal::HUP);
    wait_until("another serves", || {
        let now = crate::common::load::children(daemon.pid());
        now.len() == 1 && now != before
    });
    let _spinners = other.stall();
    assert_eq!(watch.ask(), "1 1");
}

/// A program sleeps in poll(2) while the daemon is replaced, and when it is killed, and is told of the next
/// event.
fn a_trigger_outlives_its_daemon() {
    let daemon = watchable(&["--supervise"]);
    let container = Container::new();
    let mut watch = container.watch(&daemon.path(VIEW), 1, TRIGGER);
    assert_eq!(watch.ask(), "1 []");
    let children = || crate::common::load::children(daemon.pid());
    for signal in [Signal::HUP, Signal::KILL] {
        let before = children();
        let asked = std::thread::scope(|scope| {
            let asked = scope.spawn(|| watch.ask());
            std::thread::sleep(Duration::from_millis(300));
            match signal {
                Signal::HUP => daemon.signal(signal),
                _ => kill_process(Pid::from_raw(before[0].try_into().unwrap()).unwrap(), signal).unwrap(),
            }
            wait_until("another serves", || children().len() == 1 && children() != before);
            let _spinners = container.stall();
            asked.join().unwrap()
        });
        assert_eq!(asked, "1 0", "{signal:?}");
        // Whatever else there was to be told.
        std::thread::sleep(Duration::from_millis(1200));
        watch.ask();
    }
}
