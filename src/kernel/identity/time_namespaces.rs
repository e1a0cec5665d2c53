//! Time namespaces: a reader may be in one where the boot was at another time than here.

use crate::error::Error;
use crate::kernel::procfs::Procfs;
use cgprocfs_core::parse::time_offsets;
use cgprocfs_core::snapshot::Boot;
use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};
use std::path::Path;

/// What is known of time namespaces.
pub(crate) struct TimeNamespaces {
    /// The number of this process's own; `None` where the kernel has none (before Linux 5.6).
    own: Option<u64>,
    /// How much more CLOCK_BOOTTIME shows there than on the host, in nanoseconds.
    own_offset: i64,
    /// Whether this is the system that this process runs on, and not a tree of files.
    is_here: bool,
    /// When that was booted, in nanoseconds of CLOCK_REALTIME, as it was first seen.
    booted: Mutex<Option<i64>>,
}

impl TimeNamespaces {
    pub(crate) fn new(procfs: &Procfs, root: &Path) -> Self {
        let own = procfs.own_namespace_id("ns/time");
        let offsets = own.and_then(|_| procfs.read("self/timens_offsets").ok());
        let own_offset = offsets.and_then(|text| time_offsets::boottime(&text).ok()).unwrap_or(0);
        Self { own, own_offset, is_here: root == Path::new("/"), booted: Mutex::default() }
    }

    /// How much more CLOCK_BOOTTIME shows to a reader than to this process, in nanoseconds.
    ///
    /// Nothing is remembered: unlike its pid namespace a process may change this one. While it waits for us it does not, nor is
    /// it in the middle of an exec, which whoever looks at its namespaces would wait for.
    pub(crate) fn offset_of(&self, pid: u32, procfs: &Procfs) -> Result<i64, Error> {
        let Some(own) = self.own else { return Ok(0) };
        let number = procfs.namespace_id(pid, "ns/time")?;
        if number == own {
            return Ok(0);
        }
        // The offsets are those of the namespace of its children to come, which is another one only between unshare(2) and
        // the next fork (`proc_timens_show_offsets()`, kernel/time/namespace.c).
        if procfs.namespace_id(pid, "ns/time_for_children")? != number {
            return Err(Error::UnknownTime(pid));
        }
        let mut text = Vec::new();
        procfs.read_of(pid, "timens_offsets", &mut text)?;
        let offset = time_offsets::boottime(&text);
        let offset = offset.map_err(|e| Error::malformed(format!("/proc/{pid}/timens_offsets"), e))?;
        Ok(offset.saturating_sub(self.own_offset))
    }

    /// The boot as a reader has it whose clock shows so much more. That `btime` is cut off to seconds matters only where the
    /// offset is not of whole ones.
    pub(crate) fn boot(&self, offset: i64) -> Boot {
        let is_exact = offset % 1_000_000_000 == 0;
        Boot { offset, at: (self.is_here && !is_exact).then(|| self.booted()) }
    }

    /// When the system was booted, in nanoseconds of CLOCK_REALTIME, by the clocks of this process.
    fn booted(&self) -> i64 {
        let nanoseconds = |clock| {
            let time = clock_gettime(clock);
            time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
        };
        // The two can't be read at once, so that each look differs from others by as much as lies between. Of a few that
        // with the least is the best.
        let look = |_| {
            let before = nanoseconds(ClockId::Boottime);
            let real = nanoseconds(ClockId::Realtime);
            let between = nanoseconds(ClockId::Boottime).saturating_sub(before);
            (between, real.saturating_sub(before).saturating_sub(between / 2))
        };
        let (_, now) = (0..5).map(look).min().unwrap_or_default();
        // Only who sets the clock moves the boot, and by more.
        const INEXACT: u64 = 1_000_000;
        let mut booted = self.booted.lock();
        match *booted {
            Some(known) if known.abs_diff(now) < INEXACT => known,
            _ => *booted.insert(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        assert_eq!(offset(10).unwrap(), 0, "it has made one, and is not in it");
        assert_eq!(offset(11).unwrap(), 12_000_000_000);
        assert!(matches!(offset(12), Err(Error::UnknownTime(12))));
        assert_eq!(namespaces.boot(1).at, None);
    }

    #[test]
    fn the_boot_is_when_the_kernel_says() {
        let procfs = Procfs::open(Path::new("/")).unwrap();
        let namespaces = TimeNamespaces::new(&procfs, Path::new("/"));
        let stat = fs::read_to_string("/proc/stat").unwrap();
        let btime = stat.lines().find_map(|line| line.strip_prefix("btime ")).unwrap();
        assert_eq!((namespaces.booted() / 1_000_000_000).to_string(), btime);
        assert_eq!(namespaces.booted(), namespaces.booted());
        assert_eq!(namespaces.offset_of(std::process::id(), &procfs).unwrap(), 0);
    }
}
