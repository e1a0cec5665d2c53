//! A daemon that has seen many containers, and that nobody asks any more.

use super::containers::FILES;
use super::{containers, served};
use crate::common::daemon::Daemon;
use crate::common::{Need, helper, test};
use libtest_mimic::Trial;
use std::fs;
use std::process::Command;
use std::time::Duration;

pub fn tests() -> Vec<Trial> {
    tests! {
        test(&[Need::Root, Need::Fuse, Need::Program("unshare")]) => [
            idle_after_a_thousand_containers,
        ],
    }
}

/// What a daemon keeps for itself that has seen a thousand containers, in KiB.
const MOST_RESIDENT: u64 = 8 << 10;

/// What the daemon keeps of each is bounded, and it does nothing for them once nobody asks.
fn idle_after_a_thousand_containers() {
    const COUNT: usize = 1000;
    let faults = tempfile::tempdir().unwrap();
    fs::write(faults.path().join("impatient"), "").unwrap();
    let daemon = Daemon::start_with(&[], &[], &[("CGPROCFS_FAULTS", faults.path().to_str().unwrap())]);
    let fleet = containers(COUNT);
    let tops: Vec<_> = fleet.tops.iter().map(|top| top.display().to_string()).collect();
    let paths = served(&daemon, &FILES);
    let arguments = [vec![tops.join(","), COUNT.to_string()], paths].concat();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let visitor = helper::start(
        Command::new("unshare").args(["--pid", "--fork"]).args(helper::command("visit", &arguments)),
    );
    let (resident, descriptors) = (daemon.resident(), daemon.descriptors());
    // The load of a container is looked at for a while after it was asked for.
    std::thread::sleep(Duration::from_secs(8));
    let before = daemon.effort();
    std::thread::sleep(Duration::from_secs(10));
    let after = daemon.effort();
    let (wakeups, ran) = (after.0 - before.0, after.1 - before.1);
    println!(
        "fleet: {COUNT} containers: {resident} KiB, {descriptors} descriptors; idle: {wakeups} wake-ups and {ran:?} of a processor in ten \
         seconds, {} KiB, {} descriptors",
        daemon.resident(),
        daemon.descriptors()
    );
    drop(visitor);
    assert!(daemon.resident() < MOST_RESIDENT, "{} KiB", daemon.resident());
    assert!(wakeups <= 1 && ran <= Duration::from_micros(200), "{wakeups}, {ran:?}");
    assert!(daemon.descriptors() < 100, "{} descriptors", daemon.descriptors());
}
