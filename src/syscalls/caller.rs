//! A program that waits for an answer: its memory, its id to itself, its mounts.
//!
//! process_vm_writev(2) would write to whatever process has the id by now. `/proc/PID/mem` stays with the
//! memory that it was opened for, but writes to what the program itself may only read, too: so that is looked
//! up first.

use cgprocfs_core::parse::decimal;
use cgprocfs_core::parse::pid::Pid;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read};
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

    /// Whether the program itself may write to all bytes from an address on, in memory that is its own alone: to
    /// write to what others share, or to a file, may take as long as somebody likes.
    ///
    /// # Errors
    /// The error that the kernel returns.
    pub(super) fn is_writable(&self, address: u64, length: usize) -> io::Result<bool> {
        let Some(end) = address.checked_add(length as u64) else { return Ok(false) };
        is_writable(BufReader::with_capacity(16 << 10, &self.mappings), address, end)
    }

    /// Writes bytes at an address.
    ///
    /// # Errors
    /// The error that the kernel returns.
    pub(super) fn write(&self, address: u64, bytes: &[u8]) -> io::Result<()> {
        self.memory.write_all_at(bytes, address)
    }
}

/// Whether mappings, in the format of `/proc/PID/maps`, allow writing to all from `address` up to `end`.
fn is_writable(mappings: impl BufRead, mut address: u64, end: u64) -> io::Result<bool> {
    for line in mappings.take(MAX_MAPPINGS).split(b'\n') {
        let Some(mapping) = Mapping::parse(&line?) else { continue };
        if mapping.until <= address {
            continue;
        }
        if mapping.from > address || !mapping.is_own_and_writable {
            return Ok(false);
        }
        address = mapping.until;
        if address >= end {
            return Ok(true);
        }
    }
    Ok(false)
}

/// So much of the list of mappings is looked at, in bytes: that of ten thousand or more.
const MAX_MAPPINGS: u64 = 1 << 20;
/// So much of the list of mounts is looked at, in bytes.
const MAX_MOUNTS: u64 = 256 << 10;

struct Mapping {
    from: u64,
    until: u64,
    /// Whether it may be written to, and is neither shared nor of a file.
    is_own_and_writable: bool,
}

impl Mapping {
    fn parse(line: &[u8]) -> Option<Self> {
        // Range, permissions, offset, device, inode, and perhaps a name.
        let mut words = line.split(|&b| b == b' ').filter(|word| !word.is_empty());
        let range = std::str::from_utf8(words.next()?).ok()?;
        let permissions = words.next()?;
        let inode = words.nth(2)?;
        let (from, until) = range.split_once('-')?;
        let number = |digits| u64::from_str_radix(digits, 16).ok();
        let is_own_and_writable =
            permissions.get(1) == Some(&b'w') && permissions.get(3) == Some(&b'p') && inode == b"0";
        Some(Self { from: number(from)?, until: number(until)?, is_own_and_writable })
    }
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
    // A container may mount as much as it likes.
    let table = BufReader::new(File::open(format!("/proc/{thread}/mountinfo"))?.take(MAX_MOUNTS));
    for line in table.split(b'\n') {
        if covers_uptime(&line?) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn covers_uptime(mount: &[u8]) -> bool {
    let mut words = mount.split(|&b| b == b' ');
    // The fifth is the mount point, and the file system's type comes after a hyphen.
    words.nth(4) == Some(b"/proc/uptime")
        && words.skip_while(|word| *word != b"-").nth(1).is_some_and(|kind| kind.starts_with(b"fuse"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::own_pid;

    #[test]
    fn what_may_be_written_to() {
        let maps = b"1000-2000 r--p 0 00:00 0 \n2000-3000 rw-p 0 00:00 0 [heap]\n3000-4000 rw-p 0 00:00 0\n\
            5000-6000 -w-p 0 00:00 0\n6000-7000 rw-s 0 00:01 7 /memfd:x y\n7000-8000 rw-p 0 08:01 9 /x\n";
        let is_writable = |from, until| is_writable(&maps[..], from, until).unwrap();
        assert!(is_writable(0x2000, 0x2001) && is_writable(0x2ff0, 0x4000) && is_writable(0x5000, 0x6000));
        let others =
            [(0x1ff0, 0x2010), (0x1000, 0x1001), (0x3ff0, 0x4001), (0x4800, 0x5001), (0x9000, 0x9001)];
        for (from, until) in others {
            assert!(!is_writable(from, until), "{from:x}");
        }
        assert!(!is_writable(0x6000, 0x6001) && !is_writable(0x7000, 0x7001), "shared, or of a file");
    }

    #[test]
    fn who_binds_the_age_of_the_container() {
        let line =
            |target: &str, kind: &str| format!("72 71 0:4 /x {target} ro shared:7 - {kind} cgprocfs rw");
        assert!(covers_uptime(line("/proc/uptime", "fuse.cgprocfs").as_bytes()));
        for (target, kind) in [("/proc/uptime", "proc"), ("/proc", "fuse"), ("/proc/uptime2", "fuse")] {
            assert!(!covers_uptime(line(target, kind).as_bytes()));
        }
        assert!(!covers_uptime(b"") && !covers_uptime(b"1 2 3 4 /proc/uptime"));
    }

    #[test]
    fn own_memory() {
        let own = CallerMemory::open(own_pid()).unwrap();
        let target = Box::new([0u8; 8]);
        let address = target.as_ptr().addr() as u64;
        assert!(own.is_writable(address, 8).unwrap());
        own.write(address, b"12345678").unwrap();
        assert_eq!(std::hint::black_box(&target)[..], b"12345678"[..]);
        static READ_ONLY: [u8; 8] = *b"constant";
        assert!(!own.is_writable(READ_ONLY.as_ptr().addr() as u64, 8).unwrap());
        assert!(!own.is_writable(8, 1).unwrap() && !own.is_writable(u64::MAX, 2).unwrap());
        assert_eq!(named_by(own_pid(), own_pid().get()).unwrap(), Some(own_pid()));
        assert_eq!(named_by(own_pid(), 1).unwrap(), None);
        assert!(!binds_uptime(own_pid()).unwrap());
    }
}
