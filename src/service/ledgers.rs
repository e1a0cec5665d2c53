//! The ledgers of the containers that were asked for.

use crate::ledger::{Counters, Ledger};
use crate::parse::uptime::uptime;
use crate::snapshot::{Native, Snapshot};
use crate::view::NotLoaded;
use parking_lot::Mutex;
use std::collections::HashMap;

/// By the number of the container's cgroup, which is never used again.
#[derive(Default)]
pub(super) struct Ledgers {
    open: Mutex<HashMap<u64, (Vec<u8>, Ledger)>>,
}

impl Ledgers {
    /// What the processors of the container of this number, at this path, have counted by the moment of `snapshot`.
    pub(super) fn counters(
        &self,
        (container, path): (u64, &[u8]),
        snapshot: &Snapshot,
    ) -> Result<Counters, NotLoaded> {
        let cpus = snapshot.cpus.as_ref().ok_or(NotLoaded("the processors"))?;
        let start = snapshot.start.ok_or(NotLoaded("the container's start"))?;
        let now = uptime(snapshot.native(Native::Uptime)?).map_err(|_| NotLoaded("the host's uptime"))?;
        let (now, start) = (now.saturating_mul(10_000_000), start.saturating_mul(nanoseconds_per_tick()));
        let mut open = self.open.lock();
        let begin = || (path.to_vec(), Ledger::new(start.min(now), cpus));
        let (_, ledger) = open.entry(container).or_insert_with(begin);
        Ok(ledger.at(now, cpus))
    }

    /// Closes those of containers that `exists` denies.
    pub(super) fn sweep(&self, exists: impl Fn(u64, &[u8]) -> bool) {
        let all: Vec<_> =
            self.open.lock().iter().map(|(&number, (path, _))| (number, path.clone())).collect();
        let gone: Vec<_> = all.into_iter().filter(|(number, path)| !exists(*number, path)).collect();
        let mut open = self.open.lock();
        gone.iter().for_each(|(number, _)| drop(open.remove(number)));
        let in_use = open.len();
        open.shrink_to(in_use * 2);
    }
}

fn nanoseconds_per_tick() -> u64 {
    1_000_000_000 / rustix::param::clock_ticks_per_second().max(1)
}
