//! Containers that read while the daemon dies and comes back.

use super::cgroup::Cgroup;
use super::helper::{self, Running};
use super::{Busy, wait_for};
use std::io::Read;
use std::time::Duration;

/// The containers' limit, in MiB.
pub const LIMIT: u64 = 64;

/// The first line that they have to read.
pub fn total() -> String {
    format!("MemTotal:       {:8} kB", LIMIT << 10)
}

/// Containers that read as fast as they can, four by a bind mount and four at the anchor.
pub struct Load {
    readers: Vec<Running>,
    /// How busy the machine was before these.
    busy: Busy,
    _cgroup: Cgroup,
}

impl Load {
    /// `enter` are the words that a command there begins with, `anchor` is what is read.
    pub fn start(enter: &[String], anchor: &str) -> Self {
        let (cgroup, busy) = (Cgroup::new().limit(LIMIT), Busy::now());
        let reader = |index| {
            let path = if index % 2 == 0 { "/proc/meminfo" } else { anchor };
            bound(enter, &cgroup, anchor, &helper::command("enduring", &[path, &total()]))
        };
        Self { readers: (0..8).map(reader).collect(), busy, _cgroup: cgroup }
    }

    /// Ends them: none may have failed. How often they have read, how long the longest took, and how busy the
    /// machine was with other things, before or after.
    pub fn end(self) -> (u64, Duration, Busy) {
        let said = self.readers.into_iter().map(|mut reader| {
            drop(reader.process.stdin.take());
            let mut said = String::new();
            reader.stdout.read_to_string(&mut said).unwrap();
            let status = wait_for(&mut reader.process);
            assert!(status.success(), "a reader failed: {status}");
            let (reads, longest) = said.trim().split_once(' ').unwrap();
            (reads.parse::<u64>().unwrap(), Duration::from_micros(longest.parse().unwrap()))
        });
        let (reads, longest) = said
            .fold((0, Duration::ZERO), |(reads, longest), (more, long)| (reads + more, longest.max(long)));
        (reads, longest, self.busy.or(Busy::now()))
    }
}

/// A helper in `cgroup`, in a mount namespace where `anchor` is bound over /proc/meminfo as a slave.
pub fn bound(enter: &[String], cgroup: &Cgroup, anchor: &str, helper: &[String]) -> Running {
    let script = "mount --bind \"$0\" /proc/meminfo && exec \"$@\"";
    let unshare = ["unshare", "--mount", "--propagation", "slave", "sh", "-c", script, anchor];
    let words = enter.iter().map(String::as_str).chain(unshare).chain(helper.iter().map(String::as_str));
    helper::start(&mut cgroup.command(&words.collect::<Vec<_>>()))
}

/// The processes that a process has started.
pub fn children(pid: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}
