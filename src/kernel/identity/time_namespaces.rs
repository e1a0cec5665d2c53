//! Time namespaces: a reader may be in one in which the boot was at another time than here.

use crate::error::Error;
use crate::kernel::namespace_id::NamespaceId;
use crate::kernel::procfs::Procfs;
use cgprocfs_core::parse::pid::Pid;
use cgprocfs_core::parse::time_offsets::TimeOffsets;
use cgprocfs_core::snapshot::Boot;
use cgprocfs_core::time::{ClockOffset, Nanos, WallTime};
use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};
use std::path::Path;

/// How this process's time namespace relates to those of readers.
pub(crate) struct TimeNamespaces {
    /// The number of this process's own; `None` where the kernel has none (before Linux 5.6).
    own: Option<NamespaceId>,
    /// How much later CLOCK_BOOTTIME is there than on the host.
    own_offset: ClockOffset,
    /// Whether this is the system that this process runs on, and not a tree of files.
    is_here: bool,
    /// When the system was booted, as it was first determined.
    booted: Mutex<Option<WallTime>>,
}

impl TimeNamespaces {
    pub(crate) fn new(procfs: &Procfs, root: &Path) -> Self {
        let own = procfs.own_namespace_id("ns/time");
        let offsets = own.and_then(|_| procfs.read("self/timens_offsets").ok());
        let own_offset = offsets
            .and_then(|text| TimeOffsets::parse(&text).ok())
            .map_or(ClockOffset::NONE, |own| own.boottime);
        Self { own, own_offset, is_here: root == Path::new("/"), booted: Mutex::default() }
    }

    /// How much later CLOCK_BOOTTIME is for a reader than for this process.
    ///
    /// Nothing is cached, because a process may change its time namespace, unlike its pid namespace. While it
    /// waits for an answer it does not change it, nor is it in the middle of an exec, which would block
    /// whoever looks at its namespaces.
    pub(crate) fn offset_of(&self, pid: Pid, procfs: &Procfs) -> Result<ClockOffset, Error> {
        let Some(own) = self.own else { return Ok(ClockOffset::NONE) };
        let number = procfs.namespace_id(pid, "ns/time")?;
        if number == own {
            return Ok(ClockOffset::NONE);
        }
        // The offsets are those of the namespace of its future children, which is another one only between
        // unshare(2) and the next fork (`proc_timens_show_offsets()`, kernel/time/namespace.c).
        if procfs.namespace_id(pid, "ns/time_for_children")? != number {
            return Err(Error::UnknownTime(pid));
        }
        let mut text = Vec::new();
        procfs.read_of(pid, "timens_offsets", &mut text)?;
        let malformed = |e| Error::malformed(format!("/proc/{pid}/timens_offsets"), e);
        let offsets = TimeOffsets::parse(&text).map_err(malformed)?;
        Ok(offsets.boottime.relative_to(self.own_offset))
    }

    /// The boot for a reader whose clock is later by `offset`. That `btime` is truncated to
    /// seconds matters only if the offset is no whole number of seconds.
    pub(crate) fn boot(&self, offset: ClockOffset) -> Boot {
        let is_exact = offset.is_whole_seconds();
        Boot { offset, at: (self.is_here && !is_exact).then(|| self.booted()) }
    }

    /// When the system was booted, by the clocks of this process.
    fn booted(&self) -> WallTime {
        let nanoseconds = |clock| {
            let time = clock_gettime(clock);
            time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
        };
        // The two clocks can't be read at once, so each sample is off by as much as lies between the
        // readings. Of a few samples the one with the shortest gap is the best.
        let sample = |_| {
            let before = nanoseconds(ClockId::Boottime);
            let real = nanoseconds(ClockId::Realtime);
            let gap = nanoseconds(ClockId::Boottime).saturating_sub(before);
            (gap, real.saturating_sub(before).saturating_sub(gap / 2))
        };
        let (_, now) = (0..5).map(sample).min().unwrap_or_default();
        let now = WallTime::from_nanos(now);
        // Only setting the clock moves the boot, and by more than this.
        const TOLERANCE: Nanos = Nanos::from_micros(1000);
        let mut booted = self.booted.lock();
        match *booted {
            Some(known) if known.distance(now) < TOLERANCE => known,
            _ => *booted.insert(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::own_pid;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn offsets_are_those_of_the_namespace_that_the_reader_is_in() {
        let dir = tempfile::tempdir().unwrap();
        let process = |name: &str, own: &str, of_children: &str, offset: &str| {
            let process = dir.path().join("proc").join(name);
            fs::create_dir_all(process.join("ns")).unwrap();
            symlink(own, process.join("ns/time")).unwrap();
            symlink(of_children, process.join("ns/time_for_children")).unwrap();
            fs::write(process.join("timens_offsets"), format!("monotonic 0 0\nboottime {offset}\n")).unwrap();
        };
        process("self", "time:[1]", "time:[1]", "-5 0");
        process("10", "time:[1]", "time:[2]", "7 0");
        process("11", "time:[2]", "time:[2]", "7 0");
        process("12", "time:[2]", "time:[3]", "9 0");
        let procfs = Procfs::open(dir.path()).unwrap();
        let namespaces = TimeNamespaces::new(&procfs, dir.path());
        let offset = |pid| namespaces.offset_of(pid, &procfs);
        assert_eq!(offset(Pid::new(10)).unwrap(), ClockOffset::NONE, "it has made one, and is not in it");
        assert_eq!(offset(Pid::new(11)).unwrap(), ClockOffset::from_nanos(12_000_000_000));
        assert!(matches!(offset(Pid::new(12)), Err(Error::UnknownTime(_))));
        assert_eq!(namespaces.boot(ClockOffset::from_nanos(1)).at, None);
    }

    #[test]
    fn the_boot_is_when_the_kernel_says() {
        let procfs = Procfs::open(Path::new("/")).unwrap();
        let namespaces = TimeNamespaces::new(&procfs, Path::new("/"));
        let stat = fs::read_to_string("/proc/stat").unwrap();
        let btime = stat.lines().find_map(|line| line.strip_prefix("btime ")).unwrap();
        assert_eq!(namespaces.booted().as_seconds().to_string(), btime);
        assert_eq!(namespaces.booted(), namespaces.booted());
        assert_eq!(namespaces.offset_of(own_pid(), &procfs).unwrap(), ClockOffset::NONE);
    }
}
