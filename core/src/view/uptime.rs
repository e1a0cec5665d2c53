//! `proc/uptime`: how long the container runs, and how long its processors were idle.

use super::contract::View;
use crate::error::ViewError;
use crate::parse::uptime::Uptime as HostUptime;
use crate::snapshot::{HostFile, Needs, Snapshot};
use crate::time::ClockOffset;
use std::io::Write;

/// The first number is the age of the container's first process; in a time namespace with a boot of its own,
/// it is how long ago that was, because `/proc/PID/stat` counts from then. The second is the time that the
/// container could have run, by its processors or its bandwidth limit, and did not, summed over all
/// processors as the kernel does (`uptime_proc_show()`, fs/proc/uptime.c). It is 0 where nothing accounts for
/// the time that the container has run.
pub struct Uptime;

impl View for Uptime {
    fn path(&self) -> &'static str {
        HostFile::Uptime.path()
    }

    fn host_file(&self) -> Option<HostFile> {
        Some(HostFile::Uptime)
    }

    fn needs(&self) -> Needs {
        Needs::COUNTERS.and(Needs::BOOT).and(Needs::native(HostFile::Uptime))
    }

    fn render(&self, snapshot: &Snapshot, out: &mut Vec<u8>) -> Result<(), ViewError> {
        let counters = snapshot.counters()?;
        let age = age_in_hundredths(snapshot)?;
        let is_counted = snapshot.cpus.as_ref().is_some_and(|cpus| cpus.time.is_some());
        let idle = if is_counted { counters.all.idle.as_hundredths() } else { 0 };
        // Writing to a Vec never fails.
        let _ = writeln!(out, "{}.{:02} {}.{:02}", age / 100, age % 100, idle / 100, idle % 100);
        Ok(())
    }

    fn host_text(&self, native: &[u8], snapshot: &Snapshot, out: &mut Vec<u8>) -> Result<(), ViewError> {
        if snapshot.boot.offset == ClockOffset::NONE {
            out.extend_from_slice(native);
            return Ok(());
        }
        let malformed = |e| ViewError::Malformed("/proc/uptime", e);
        let now = HostUptime::parse(native).map_err(malformed)?.now;
        let now = now.by_clock(snapshot.boot.offset).as_hundredths();
        let _ = write!(out, "{}.{:02}", now / 100, now % 100);
        // The kernel shifts the first number alone.
        out.extend(native.iter().skip_while(|&&byte| byte != b' '));
        Ok(())
    }
}

/// How long the container has run, in hundredths of a second.
pub(crate) fn age_in_hundredths(snapshot: &Snapshot) -> Result<u64, ViewError> {
    let start = snapshot.start.ok_or(ViewError::NotLoaded("the container's start"))?;
    let now = snapshot.uptime()?;
    Ok(match snapshot.boot.offset {
        ClockOffset::NONE => now.as_hundredths().saturating_sub(snapshot.machine.tick_rate.hundredths(start)),
        offset => now.by_clock(offset).as_hundredths(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::Cpus;
    use crate::cpu::account::{CpuCounters, CpuTimes};
    use crate::machine::Machine;
    use crate::parse::cpu_stat::CpuTime;
    use crate::snapshot::{Container, Scope};
    use crate::time::Ticks;
    use crate::time::{BootTime, Nanos};

    fn shown(hundredths: u64, start: u64, idle: Nanos, time: Option<CpuTime>) -> String {
        let scope = Scope::Container(Container::default());
        let mut snapshot = Snapshot::of_memory(None, Machine::USUAL, scope);
        snapshot.cpus = Some(Cpus { time, ..Cpus::default() });
        snapshot.counters = Some(CpuCounters { all: CpuTimes { idle, ..CpuTimes::default() }, each: vec![] });
        snapshot.start = Some(Ticks::new(start));
        snapshot.uptime = BootTime::from_hundredths(hundredths);
        let mut out = Vec::new();
        Uptime.render(&snapshot, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn age_and_idle_time() {
        let idle = Nanos::new(169_505_000_000);
        assert_eq!(shown(100_000, 90_000, idle, Some(CpuTime::default())), "100.00 169.50\n");
        assert_eq!(shown(100_007, 90_000, idle, None), "100.07 0.00\n");
    }

    #[test]
    fn in_a_time_namespace_it_is_the_kernels() {
        let moment = BootTime::from_hundredths(100_000).unwrap();
        let shifted = |nanoseconds| moment.by_clock(ClockOffset::from_nanos(nanoseconds)).as_hundredths();
        assert_eq!(shifted(1_000_000_000_000), 200_000);
        assert_eq!(shifted(-999_995_000_000), 0);
        assert_eq!(shifted(-1_000_000_000_001), 0);
        let scope = Scope::Host(Box::default());
        let mut snapshot = Snapshot::of_memory(None, Machine::USUAL, scope);
        snapshot.host_files.push((HostFile::Uptime, b"1000.00 1999.99\n".as_slice().into()));
        let mut shown = |offset| {
            snapshot.boot.offset = ClockOffset::from_nanos(offset);
            let mut out = Vec::new();
            Uptime.text(&snapshot, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(shown(0), "1000.00 1999.99\n");
        assert_eq!(shown(-500_000_000), "999.50 1999.99\n");
    }

    #[test]
    fn never_negative() {
        assert_eq!(shown(100, u64::MAX, Nanos::ZERO, None), "0.00 0.00\n");
    }
}
