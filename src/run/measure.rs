//! Samples the program's memory while it runs.

use super::cgroup::RunCgroup;
use super::error::RunError;
use super::report;
use super::sample::Sample;
use crate::error::Error;
use crate::kernel::Caller;
use crate::service::Service;
use cgprocfs_core::parse::memory_stat::MemoryStat;
use cgprocfs_core::parse::pid::Pid;
use cgprocfs_core::parse::proc_stat::ProcStat;
use cgprocfs_core::snapshot::{Needs, Scope};
use cgprocfs_core::units::Bytes;
use cgprocfs_core::view::working_set::working_set;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A running measurement.
pub(super) struct Measurement {
    stop: Sender<()>,
    sampler: JoinHandle<(RunCgroup, Option<Sample>, Bytes)>,
}

/// The shortest time between two samples.
const MIN_INTERVAL: Duration = Duration::from_millis(1);
/// The longest time between two samples.
const MAX_INTERVAL: Duration = Duration::from_millis(100);

impl Measurement {
    /// Starts to sample, densely at first: the last sample is then no older at the program's end than half
    /// its life, or [`MAX_INTERVAL`]. What a program has when it ends can't be asked for afterwards.
    pub(super) fn start(
        service: Arc<Service>,
        cgroup: RunCgroup,
        program: Pid,
        started: Instant,
        refresh: Option<Duration>,
        json: bool,
    ) -> Result<Self, RunError> {
        let (stop, stopped) = mpsc::channel();
        let sampler = move || {
            let mut last = None;
            let mut peak = Bytes::ZERO;
            let mut pause = MIN_INTERVAL;
            let mut printed = started;
            loop {
                match sample(&service, &cgroup, started) {
                    // It has given its memory back already, or is about to; for the shortest of programs
                    // there is no better sample.
                    Ok(_) if last.is_some() && is_ending(program) => {}
                    Ok(sample) => {
                        peak = peak.max(Bytes::new(sample.usage));
                        last = Some(sample);
                    }
                    Err(error) => log::debug!("no sample: {error}"),
                }
                let is_due = refresh.is_some_and(|refresh| printed.elapsed() >= refresh);
                if let (true, Some(sample)) = (is_due, &last) {
                    printed = Instant::now();
                    report::print_sample(sample, json);
                }
                let until_print = refresh.map(|refresh| refresh.saturating_sub(printed.elapsed()));
                let wait = until_print.map_or(pause, |until| until.min(pause)).max(MIN_INTERVAL);
                match stopped.recv_timeout(wait) {
                    Err(RecvTimeoutError::Timeout) => pause = (pause * 2).min(MAX_INTERVAL),
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => return (cgroup, last, peak),
                }
            }
        };
        let sampler = thread::Builder::new().name("sampler".into()).spawn(sampler);
        Ok(Self { stop, sampler: sampler.map_err(|e| RunError::System("cannot start a thread", e))? })
    }

    /// Ends it; returns the cgroup, the last sample, and the largest usage among all samples.
    pub(super) fn stop(self) -> (RunCgroup, Option<Sample>, Bytes) {
        drop(self.stop);
        match self.sampler.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

fn sample(service: &Service, cgroup: &RunCgroup, started: Instant) -> Result<Sample, Error> {
    let source = service.source();
    let caller = Caller::in_cgroup(cgroup.path());
    let snapshot = source.read_snapshot(&source.ancestry(cgroup.path())?, &caller, Needs::USAGE)?;
    let level = match &snapshot.scope {
        Scope::Host(level) => level,
        Scope::Container(container) => &container.levels[container.index],
    };
    let stat = level.stat.clone().unwrap_or_default();
    let bytes = |counter: Option<Bytes>| counter.unwrap_or_default().get();
    Ok(Sample {
        seconds: started.elapsed().as_secs_f64(),
        usage: bytes(level.usage),
        working_set: bytes(working_set(level)),
        anon: bytes(stat.anon),
        file: bytes(stat.file),
        kernel: bytes(stat.kernel.or_else(|| cgroup.kernel_memory()).or_else(|| kernel_parts(&stat))),
    })
}

fn is_ending(program: Pid) -> bool {
    let stat = std::fs::read(format!("/proc/{program}/stat")).unwrap_or_default();
    ProcStat::parse(&stat).map_or(true, |stat| stat.is_exiting)
}

/// Before Linux 5.18 cgroup v2 tells the parts of the kernel's memory only.
fn kernel_parts(stat: &MemoryStat) -> Option<Bytes> {
    let parts =
        [stat.slab_reclaimable, stat.slab_unreclaimable, stat.kernel_stack, stat.pagetables, stat.percpu];
    Some(parts.into_iter().flatten().sum())
}
