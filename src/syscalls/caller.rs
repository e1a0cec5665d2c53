//! A program that waits for an answer: its memory, its id to itself, its mounts.
//!
//! process_vm_writev(2) would write to whatever process has the id by now. `/proc/PID/mem` stays with the
//! memory that it was opened for, but writes to what the program itself may only read, too: so that is looked
//! up first.

use cgprocfs_core::parse::decimal;
use cgprocfs_core::parse::mountinfo::Mount;
use cgprocfs_core::parse::pid::Pid;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::FileExt;

/// The memory of a thread's process.
pub(super) struct CallerMemory {
    memory: File,
    mappings: File,
}

impl CallerMemory {
    /// Opens the memory of whoever has that id now.
    ///
    /// # Errors
    /// The error that the kernel returns: ENOENT where the thread is gone, EACCES where it may not be traced.
    pub(super) fn open(thread: Pid) -> io::Result<Self> {
        let memory = OpenOptions::new().write(true).open(format!("/proc/{thread}/mem"))?;
        Ok(Self { memory, mappings: File::open(format!("/proc/{thread}/maps"))? })
    }

    /// Writes bytes at an address; `false` if the program itself could not write to all of them.
    ///
    /// # Errors
    /// The error that the kernel returns.
    pub(super) fn write(&self, address: u64, bytes: &[u8]) -> io::Result<bool> {
        let Some(end) = address.checked_add(bytes.len() as u64) else { return Ok(false) };
        if !is_writable(BufReader::with_capacity(16 << 10, &self.mappings), address, end)? {
            return Ok(false);
        }
        self.memory.write_all_at(bytes, address).map(|()| true)
    }
}

/// Whether mappings, in the format of `/proc/PID/maps`, allow writing to all from `address` up to `end`.
fn is_writable(mappings: impl BufRead, mut address: u64, end: u64) -> io::Result<bool> {
    for line in mappings.split(b'\n') {
        let Some((from, until, may_write)) = parse(&line?) else { continue };
        if until <= address {
            continue;
        }
        if from > address || !may_write {
            return Ok(false);
        }
        address = until;
        if address >= end {
            return Ok(true);
        }
    }
    Ok(false)
}

fn parse(line: &[u8]) -> Option<(u64, u64, bool)> {
    let text = std::str::from_utf8(line.get(..line.iter().position(|&b| b == b' ')? + 3)?).ok()?;
    let (range, permissions) = text.split_once(' ')?;
    let (from, until) = range.split_once('-')?;
    let number = |digits| u64::from_str_radix(digits, 16).ok();
    Some((number(from)?, number(until)?, permissions.ends_with('w')))
}

/// The thread that `caller` means by an id in its own pid namespace, if that is itself or the first thread of
/// its process; `None` if it is any other.
///
/// # Errors
/// Where its ids can't be read.
pub(super) fn named_by(caller: Pid, id: u32) -> io::Result<Option<Pid>> {
    let status = std::fs::read(format!("/proc/{caller}/status"))?;
    let last = |key: &[u8]| {
        let line = status.split(|&b| b == b'\n').find_map(|line| line.strip_prefix(key))?;
        decimal(line.rsplit(|&b| b == b'\t').next()?).ok().and_then(|id| u32::try_from(id).ok())
    };
    Ok(match Some(id) {
        own if own == last(b"NSpid:") => Some(caller),
        process if process == last(b"NStgid:") => last(b"Tgid:").map(Pid::new),
        _ => None,
    })
}

/// Whether a thread reads the age of its container in `/proc/uptime`, and not that of the system.
///
/// # Errors
/// Where its mounts can't be read.
pub(super) fn binds_uptime(thread: Pid) -> io::Result<bool> {
    let table = std::fs::read(format!("/proc/{thread}/mountinfo"))?;
    let mounts = Mount::parse_all(&table).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(mounts.iter().any(|mount| mount.mount_point == b"/proc/uptime" && mount.fs_type.starts_with(b"fuse")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::own_pid;

    #[test]
    fn what_may_be_written_to() {
        let maps = b"1000-2000 r--p 0 00:00 0\n2000-3000 rw-p 0 00:00 0\n3000-4000 rw-s 0 00:00 0 /x y\n\
            5000-6000 -w-p 0 00:00 0\n";
        let is_writable = |from, until| is_writable(&maps[..], from, until).unwrap();
        assert!(is_writable(0x2000, 0x2001) && is_writable(0x2ff0, 0x4000) && is_writable(0x5000, 0x6000));
        for (from, until) in
            [(0x1ff0, 0x2010), (0x1000, 0x1001), (0x3ff0, 0x4001), (0x4800, 0x5001), (0x7000, 0x7001)]
        {
            assert!(!is_writable(from, until), "{from:x}");
        }
    }

    #[test]
    fn own_memory() {
        let own = CallerMemory::open(own_pid()).unwrap();
        let target = Box::new([0u8; 8]);
        let address = target.as_ptr().addr() as u64;
        assert!(own.write(address, b"12345678").unwrap());
        assert_eq!(std::hint::black_box(&target)[..], b"12345678"[..]);
        static READ_ONLY: [u8; 8] = *b"constant";
        assert!(!own.write(READ_ONLY.as_ptr().addr() as u64, b"12345678").unwrap());
        assert!(!own.write(8, b"1").unwrap() && !own.write(u64::MAX, b"12").unwrap());
        assert_eq!(named_by(own_pid(), own_pid().get()).unwrap(), Some(own_pid()));
        assert_eq!(named_by(own_pid(), 1).unwrap(), None);
        assert!(!binds_uptime(own_pid()).unwrap());
    }
}
