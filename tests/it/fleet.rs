//! What many containers cost, of which each is asked now and then, so that no answer is cached: counted, not
//! timed.

mod calls;
#[path = "../../benches/common/containers.rs"]
mod containers;
mod idle;
pub mod reader;

use self::containers::Containers;
use crate::common::daemon::Daemon;
use libtest_mimic::Trial;
use std::sync::atomic::{AtomicU32, Ordering};

pub fn tests() -> Vec<Trial> {
    [calls::tests(), idle::tests()].into_iter().flatten().collect()
}

/// So many containers, in cgroups that no other test has.
fn containers(count: usize) -> Containers {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    Containers::new(&format!("cgprocfs-test-{}-fleet-{number}", std::process::id()), count)
}

/// The paths of the served files.
fn served(daemon: &Daemon, files: &[&str]) -> Vec<String> {
    files.iter().map(|file| daemon.path(file).display().to_string()).collect()
}
