//! What a daemon uses.

use super::Daemon;
use crate::common::field;
use std::fs;
use std::time::Duration;

impl Daemon {
    /// How many files of this name it has open.
    pub fn opened(&self, name: &str) -> usize {
        let all = fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap();
        let targets = all.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        targets.filter(|target| target.file_name().is_some_and(|file| file == name)).count()
    }

    /// How many files it has open.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// Of all its threads, how often they had waited for something, and how long they have run.
    pub fn effort(&self) -> (u64, Duration) {
        let (mut waits, mut ran) = (0, 0);
        for task in fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap() {
            let read =
                |file: &str| fs::read_to_string(task.as_ref().unwrap().path().join(file)).unwrap_or_default();
            let of_task = read("status");
            let count = of_task.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            waits += count.map_or(0, |count| count.trim().parse::<u64>().unwrap());
            ran += read("schedstat").split(' ').next().unwrap_or_default().parse::<u64>().unwrap_or(0);
        }
        (waits, Duration::from_nanos(ran))
    }

    /// Resident memory of its own, in KiB.
    pub fn resident(&self) -> u64 {
        field(&fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap(), "RssAnon")
    }

    /// How much processor time it has used, in seconds.
    pub fn processor_time(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split_whitespace().collect();
        let ticks = fields[11].parse::<u32>().unwrap() + fields[12].parse::<u32>().unwrap();
        f64::from(ticks) / rustix::param::clock_ticks_per_second() as f64
    }
}
