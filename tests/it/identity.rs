//! Who is asking: every rule by which a reader's container is found, on the real kernel.

mod cgroups;
mod namespaces;

use crate::common::cgroup::Cgroup;
use crate::common::daemon::Daemon;
use crate::common::helper::{self, start};
use crate::common::output;
use libtest_mimic::Trial;

pub fn tests() -> Vec<Trial> {
    [namespaces::tests(), cgroups::tests()].into_iter().flatten().collect()
}

const MIB: u64 = 1 << 10;

/// What a process in `cgroup` reads, started by `launcher` after it has entered the cgroup.
fn meminfo(daemon: &Daemon, cgroup: &Cgroup, launcher: &[&str]) -> String {
    let path = daemon.meminfo();
    let words: Vec<&str> = launcher.iter().copied().chain(["cat", &path]).collect();
    output(&mut cgroup.command(&words))
}

fn hog(cgroup: &Cgroup, mib: &str) -> helper::Running {
    let words = helper::command("hog", &[mib]);
    start(&mut cgroup.command(&words.iter().map(String::as_str).collect::<Vec<_>>()))
}
