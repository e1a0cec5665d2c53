//! `proc/stat`: what the container's processors have done.

use super::contract::View;
use crate::cpu::account::{CpuCounters, CpuTimes};
use crate::error::ViewError;
use crate::parse::decimal;
use crate::snapshot::{Boot, HostFile, Needs, Snapshot};
use crate::time::{TickRate, WallTime};
use std::io::Write;

/// The lines of the kernel's own file (`show_stat()`, fs/proc/stat.c), where
///
/// - `cpu` and `cpuN` are the container's, in clock ticks: user, system and idle time
///   ([`crate::cpu::account`]); nice is within user, and 0 are iowait, irq, softirq, steal and guest, which
///   no cgroup counts;
/// - `btime` is the host's, or that of the reader's time namespace: `ps` computes from it when a process was
///   started, and `/proc/PID/stat` counts from the same boot;
/// - `procs_running` is 1, for whoever reads is running;
/// - the rest is 0: no cgroup counts interrupts, context switches or forks.
pub struct Stat;

impl View for Stat {
    fn path(&self) -> &'static str {
        HostFile::Stat.path()
    }

    /// 60 bytes a processor, and what the kernel says of interrupts to readers outside containers.
    fn claimed_size(&self) -> u64 {
        1 << 20
    }

    fn host_file(&self) -> Option<HostFile> {
        Some(HostFile::Stat)
    }

    fn needs(&self) -> Needs {
        Needs::COUNTERS.and(Needs::BOOT).and(Needs::host_file(HostFile::Stat))
    }

    fn render(&self, snapshot: &Snapshot, out: &mut Vec<u8>) -> Result<(), ViewError> {
        let native = snapshot.host_file(HostFile::Stat)?;
        print(native, snapshot.counters()?, snapshot.machine.tick_rate, snapshot.boot, out)
    }

    fn host_text(&self, native: &[u8], snapshot: &Snapshot, out: &mut Vec<u8>) -> Result<(), ViewError> {
        for line in native.split_inclusive(|&b| b == b'\n') {
            match line.strip_prefix(b"btime ") {
                Some(booted) => print_btime(booted.trim_ascii_end(), snapshot.boot, out)?,
                None => out.extend_from_slice(line),
            }
        }
        Ok(())
    }
}

fn print(
    native: &[u8],
    counters: &CpuCounters,
    rate: TickRate,
    boot: Boot,
    out: &mut Vec<u8>,
) -> Result<(), ViewError> {
    let mut line = |key: &str, counted: &CpuTimes| {
        let [user, system, idle] =
            [counted.user, counted.system, counted.idle].map(|time| rate.ticks(time).get());
        // Writing to a Vec never fails.
        let _ = writeln!(out, "{key} {user} 0 {system} {idle} 0 0 0 0 0 0");
    };
    line("cpu ", &counters.all);
    for (number, counted) in counters.each.iter().enumerate() {
        line(&format!("cpu{number}"), counted);
    }
    for line in native.split(|&b| b == b'\n') {
        let mut words = line.split(|&b| b == b' ').filter(|word| !word.is_empty());
        let Some(key) = words.next() else { continue };
        match key {
            _ if key.starts_with(b"cpu") => continue,
            b"btime" => {
                print_btime(words.next().unwrap_or_default(), boot, out)?;
                continue;
            }
            b"procs_running" => out.extend_from_slice(b"procs_running 1"),
            // One number for each interrupt of the machine.
            b"intr" => out.extend_from_slice(b"intr 0"),
            key => {
                out.extend_from_slice(key);
                out.extend(words.flat_map(|_| *b" 0"));
            }
        }
        out.push(b'\n');
    }
    Ok(())
}

/// As `show_stat()` shifts it for the reader's time namespace.
fn print_btime(native: &[u8], boot: Boot, out: &mut Vec<u8>) -> Result<(), ViewError> {
    let seconds = decimal(native).map_err(|e| ViewError::Malformed("/proc/stat", e))?;
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    let booted = boot.at.unwrap_or(WallTime::from_seconds(seconds)).earlier_by(boot.offset);
    // Writing to a Vec never fails.
    let _ = writeln!(out, "btime {}", booted.as_seconds().max(0));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{ClockOffset, Nanos, Ticks};

    #[test]
    fn lines_are_the_kernels() {
        let native = "cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\nintr 99 1 2 3\nctxt 12\nbtime 1700000000\n\
            processes 77\nprocs_running 4\nprocs_blocked 2\nsoftirq 10 0 1\n";
        let ticks = |count| TickRate::USUAL.length_of(Ticks::new(count));
        let counted = |user| CpuTimes { user: ticks(user), system: ticks(2), idle: ticks(1) - Nanos::new(1) };
        let counters = CpuCounters { all: counted(30), each: vec![counted(10), counted(20)] };
        let mut out = Vec::new();
        print(native.as_bytes(), &counters, TickRate::USUAL, Boot::default(), &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "cpu  30 0 2 0 0 0 0 0 0 0\ncpu0 10 0 2 0 0 0 0 0 0 0\ncpu1 20 0 2 0 0 0 0 0 0 0\nintr 0\nctxt 0\n\
            btime 1700000000\nprocesses 0\nprocs_running 1\nprocs_blocked 0\nsoftirq 0 0 0\n"
        );
    }

    #[test]
    fn the_boot_is_that_of_the_readers_time_namespace() {
        let shown = |offset, at: Option<i64>| {
            let boot = Boot { offset: ClockOffset::from_nanos(offset), at: at.map(WallTime::from_nanos) };
            let mut out = Vec::new();
            print_btime(b"1700000000", boot, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(shown(0, None), "btime 1700000000\n");
        assert_eq!(shown(1_000_000_000_000, None), "btime 1699999000\n");
        assert_eq!(shown(-5_000_000_000, None), "btime 1700000005\n");
        let at = Some(1_700_000_000_600_000_000);
        assert_eq!(shown(-5_300_000_000, at), "btime 1700000005\n");
        assert_eq!(shown(-5_400_000_000, at), "btime 1700000006\n");
        assert_eq!(shown(i64::MAX, None), "btime 0\n");
    }
}
