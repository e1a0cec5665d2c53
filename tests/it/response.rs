//! What a container does with memory is what its files show, by the same amount.

mod counters;
mod memory;

use crate::common::cgroup::Cgroup;
use crate::common::daemon::Daemon;
use crate::common::field;
use crate::common::helper::Actor;
use libtest_mimic::Trial;
use std::time::Duration;

pub fn tests() -> Vec<Trial> {
    [memory::tests(), counters::tests()].into_iter().flatten().collect()
}

const MIB: i64 = 1 << 10;

/// How much of what is done is seen.
const N: i64 = 24;

/// Whose memory is looked at, by whom the files are read: its only process.
struct Subject {
    actor: Actor,
    daemon: Daemon,
    container: Cgroup,
}

/// What the files say, in KiB.
#[derive(Debug)]
struct Seen {
    free: i64,
    available: i64,
    cached: i64,
    shmem: i64,
    swap_free: i64,
    working_set: i64,
}

impl Subject {
    fn new() -> Self {
        let (daemon, container) = (Daemon::start(), Cgroup::new().limit(128));
        let mut actor = Actor::start(&container);
        // What reading itself needs is not to be counted.
        actor.tell(&format!("show {}", daemon.meminfo()));
        actor.tell(&format!("show {}", daemon.working_set()));
        Self { actor, daemon, container }
    }

    fn see(&mut self) -> Seen {
        // The kernel folds its counters together every two seconds.
        std::thread::sleep(Duration::from_millis(2500));
        let text = self.actor.tell(&format!("show {}", self.daemon.meminfo()));
        let working_set: i64 =
            self.actor.tell(&format!("show {}", self.daemon.working_set())).trim().parse().unwrap();
        let of = |key| i64::try_from(field(&text, key)).unwrap();
        Seen {
            free: of("MemFree"),
            available: of("MemAvailable"),
            cached: of("Cached"),
            shmem: of("Shmem"),
            swap_free: of("SwapFree"),
            working_set: working_set / 1024,
        }
    }

    /// What changes when the actor does something.
    fn change(&mut self, order: &str) -> Seen {
        let before = self.see();
        self.actor.tell(order);
        let change = self.see().less(&before);
        println!("response: {:24} {change:?}", order.split(" /").next().unwrap());
        change
    }
}

impl Seen {
    fn less(&self, before: &Self) -> Self {
        Self {
            free: self.free - before.free,
            available: self.available - before.available,
            cached: self.cached - before.cached,
            shmem: self.shmem - before.shmem,
            swap_free: self.swap_free - before.swap_free,
            working_set: self.working_set - before.working_set,
        }
    }
}

/// Each of two readings may be off by what each processor keeps back: 512 KiB each on two of them.
#[track_caller]
fn about(what: &str, change: i64, expected: i64) {
    assert!((change - expected).abs() <= 2 * MIB, "{what}: {change} kB, about {expected} expected");
}
