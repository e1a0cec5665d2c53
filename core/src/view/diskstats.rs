//! `proc/diskstats`: what the container did on each block device.

use super::contract::View;
use crate::error::ViewError;
use crate::parse::io_stat::DeviceIo;
use crate::snapshot::{CgroupFile, HostFile, Needs, RawFile, Snapshot};
use std::io::Write;

/// The lines of the kernel's own file (`diskstats_show()`, block/genhd.c) with the requests and sectors that
/// the container's cgroup counts. Merged requests, requests in flight and times are 0: no cgroup counts them.
/// A device that the container has not used has a line of zeros, too: programs take a file without lines for
/// a system without disks, and a line that appears later for a disk that was plugged in.
pub struct Diskstats;

/// Bytes of a sector, whatever the device (Documentation/block/stat.rst).
const SECTOR: u64 = 512;

impl View for Diskstats {
    fn path(&self) -> &'static str {
        HostFile::Diskstats.path()
    }

    fn claimed_size(&self) -> u64 {
        1 << 20
    }

    fn host_file(&self) -> Option<HostFile> {
        Some(HostFile::Diskstats)
    }

    fn needs(&self) -> Needs {
        Needs::cgroup_file(CgroupFile::Io).and(Needs::host_file(HostFile::Diskstats))
    }

    fn render(&self, snapshot: &Snapshot, out: &mut Vec<u8>) -> Result<(), ViewError> {
        let native = snapshot.host_file(HostFile::Diskstats)?;
        print(native, &devices(snapshot)?, out);
        Ok(())
    }
}

/// What the container did on each device.
pub(super) fn devices(snapshot: &Snapshot) -> Result<Vec<DeviceIo>, ViewError> {
    let Some(RawFile { version, text }) = snapshot.cgroup_file(CgroupFile::Io)? else {
        return Ok(Vec::new());
    };
    DeviceIo::parse_all(*version, text).map_err(|e| ViewError::Malformed("the cgroup's block I/O", e))
}

fn print(native: &[u8], devices: &[DeviceIo], out: &mut Vec<u8>) {
    for line in native.split(|&b| b == b'\n') {
        let words: Vec<&str> =
            std::str::from_utf8(line).unwrap_or_default().split_ascii_whitespace().collect();
        let [major, minor, name, counters @ ..] = &words[..] else { continue };
        let (Ok(major), Ok(minor)) = (major.parse(), minor.parse()) else { continue };
        let io = devices.iter().find(|io| io.device == (major, minor)).copied().unwrap_or_default();
        // Writing to a Vec never fails.
        let _ = write!(out, "{major:4} {minor:7} {name}");
        for column in 0..counters.len() {
            let counter = match column {
                0 => io.reads,
                2 => io.read_bytes / SECTOR,
                4 => io.writes,
                6 => io.written_bytes / SECTOR,
                11 => io.discards,
                13 => io.discarded_bytes / SECTOR,
                _ => 0,
            };
            let _ = write!(out, " {counter}");
        }
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_each_device() {
        let native = "   7       0 loop0 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9\n 254       0 vda 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9\n\
            \x20254       1 vdb 9 9 9 9 9 9 9 9 9 9 9\n";
        let io = |minor, reads| DeviceIo {
            device: (254, minor),
            read_bytes: 1024,
            written_bytes: 4096,
            discarded_bytes: 512,
            reads,
            writes: 2,
            discards: 1,
        };
        let mut out = Vec::new();
        print(native.as_bytes(), &[io(0, 3), io(1, 4)], &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "   7       0 loop0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n 254       0 vda 3 0 2 0 2 0 8 0 0 0 0 1 0 1 0 0 0\n 254       1 vdb 4 0 2 0 2 0 8 0 0 0 0\n"
        );
    }
}
