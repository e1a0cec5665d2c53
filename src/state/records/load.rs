//! The load averages of a container, under the id of its cgroup.

use crate::state::record::Record;
use cgprocfs_core::load_average::{CpuUsageAt, LoadAverages, LoadState};
use cgprocfs_core::time::{BootTime, Nanos, Ticks};

impl Record for LoadState {
    const VERSION: u64 = 2;
    const MAX_WORDS: usize = 7;

    fn save(&self) -> impl Iterator<Item = u64> {
        let ran = self.ran.map_or([u64::MAX; 2], |ran| [ran.at.as_nanos(), ran.time.get()]);
        self.averages.save().into_iter().chain([self.at.as_nanos(), self.start.get()]).chain(ran)
    }

    fn restore(words: &[u64]) -> Option<Self> {
        let (averages, rest) = words.split_first_chunk()?;
        let &[at, start, ran_at, time] = rest.first_chunk()?;
        let ran = (ran_at != u64::MAX)
            .then_some(CpuUsageAt { at: BootTime::from_nanos(ran_at), time: Nanos::new(time) });
        let (averages, at) = (LoadAverages::restore(*averages)?, BootTime::from_nanos(at));
        Some(Self { averages, at, ran, start: Ticks::new(start) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_restored_as_it_was_saved() {
        let mut record = LoadState {
            averages: LoadAverages::default(),
            at: BootTime::from_nanos(5),
            ran: None,
            start: Ticks::new(9),
        };
        record.averages.add(2.0, Nanos::SECOND.times(30));
        for ran in [Some(CpuUsageAt { at: BootTime::from_nanos(7), time: Nanos::new(6) }), None] {
            record.ran = ran;
            let words: Vec<u64> = record.save().collect();
            assert_eq!((words.len(), LoadState::restore(&words)), (LoadState::MAX_WORDS, Some(record)));
        }
        assert_eq!(LoadState::restore(&[u64::MAX; 7]), None);
    }
}
