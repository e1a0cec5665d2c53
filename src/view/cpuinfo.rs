//! `proc/cpuinfo`: an entry for each processor that the container has.

use super::{View, ViewError};
use crate::snapshot::{Cpus, Native, Needs, Snapshot};
use std::io::Write;

/// The kernel's entries of the processors that stand for the container's ([`Cpus::usable`]), numbered from 0, as one
/// package of so many cores. What an entry says of the hardware is the host's.
///
/// x86 has the lines of `show_cpuinfo()` (arch/x86/kernel/cpu/proc.c); of these are the topology's. Other architectures
/// have none of them in the file, and some have lines that belong to no processor, which stay.
pub struct Cpuinfo;

impl View for Cpuinfo {
    fn path(&self) -> &'static str {
        Native::Cpuinfo.path()
    }

    fn ino(&self) -> u64 {
        18
    }

    /// A processor has some 1,500 bytes.
    fn claimed_size(&self) -> u64 {
        1 << 20
    }

    fn native(&self) -> Option<Native> {
        Some(Native::Cpuinfo)
    }

    fn needs(&self) -> Needs {
        Needs::CPUS.and(Needs::native(Native::Cpuinfo))
    }

    fn render(&self, snapshot: &Snapshot, out: &mut Vec<u8>) -> Result<(), ViewError> {
        let native = snapshot.native(Native::Cpuinfo)?;
        print(native, snapshot.cpus.as_ref().ok_or(ViewError::NotLoaded("the processors"))?, out);
        Ok(())
    }
}

fn print(native: &[u8], cpus: &Cpus, out: &mut Vec<u8>) {
    let entries: Vec<&[u8]> = entries(native).collect();
    let of_processor = |number: u32| entries.iter().find(|entry| processor(entry) == Some(number));
    let count = cpus.count();
    for (place, number) in cpus.usable().iter().enumerate() {
        if let Some(entry) = of_processor(number) {
            print_entry(entry, place, count, out);
            out.push(b'\n');
        }
    }
    for entry in entries.iter().filter(|entry| processor(entry).is_none()) {
        out.extend_from_slice(entry);
    }
}

/// The paragraphs of the file, each with the newline at its end.
fn entries(native: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = native;
    std::iter::from_fn(move || {
        let start = rest.iter().position(|&b| b != b'\n')?;
        rest = &rest[start..];
        let end = rest.windows(2).position(|pair| pair == b"\n\n").map_or(rest.len(), |end| end + 1);
        let (entry, tail) = rest.split_at(end);
        rest = tail;
        Some(entry)
    })
}

/// The number of an entry's processor; `None` if it is of none.
fn processor(entry: &[u8]) -> Option<u32> {
    let first = entry.split(|&b| b == b'\n').next()?;
    let (key, value) = split(first)?;
    let number = std::str::from_utf8(value).ok()?.parse().ok()?;
    (key == b"processor").then_some(number)
}

/// A line's key, and its value behind the colon.
fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|&b| b == b':')?;
    Some((line[..colon].trim_ascii_end(), line[colon + 1..].trim_ascii()))
}

fn print_entry(entry: &[u8], place: usize, count: usize, out: &mut Vec<u8>) {
    for line in entry.split_inclusive(|&b| b == b'\n') {
        let value = match split(line).map_or(&b""[..], |(key, _)| key) {
            b"processor" | b"core id" | b"apicid" | b"initial apicid" => place,
            b"siblings" | b"cpu cores" => count,
            b"physical id" => 0,
            _ => {
                out.extend_from_slice(line);
                continue;
            }
        };
        let colon = line.iter().position(|&b| b == b':').unwrap_or(0);
        out.extend_from_slice(&line[..colon]);
        // Writing to a Vec never fails.
        let _ = writeln!(out, ": {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::cpu_list::CpuList;

    fn shown(native: &str, online: &str, quota: Option<u64>) -> String {
        let online = CpuList::parse(format!("{online}\n").as_bytes()).unwrap();
        let cpus = Cpus { online, allowed: None, quota, time: None };
        let mut out = Vec::new();
        print(native.as_bytes(), &cpus, &mut out);
        String::from_utf8(out).unwrap()
    }

    const X86: &str = "processor\t: 0\nmodel name\t: A: B\nphysical id\t: 0\nsiblings\t: 4\ncore id\t\t: 0\n\
        cpu cores\t: 4\napicid\t\t: 0\nflags\t\t: fpu\n\n\
        processor\t: 3\nmodel name\t: A: B\nphysical id\t: 1\nsiblings\t: 4\ncore id\t\t: 7\n\
        cpu cores\t: 4\napicid\t\t: 9\nflags\t\t: fpu\n\n";

    #[test]
    fn entries_are_renumbered_as_one_package() {
        assert_eq!(
            shown(X86, "0,3", None),
            X86.replace("siblings\t: 4", "siblings\t: 2")
                .replace("cpu cores\t: 4", "cpu cores\t: 2")
                .replace("processor\t: 3", "processor\t: 1")
                .replace("physical id\t: 1", "physical id\t: 0")
                .replace("core id\t\t: 7", "core id\t\t: 1")
                .replace("apicid\t\t: 9", "apicid\t\t: 1")
        );
        let one = shown(X86, "0,3", Some(1000));
        assert_eq!(one.matches("processor").count(), 1);
        assert!(one.contains("cpu cores\t: 1\n") && one.ends_with("fpu\n\n"), "{one}");
        assert!(shown(X86, "3", None).starts_with("processor\t: 0\nmodel name\t: A: B\nphysical id\t: 0\n"));
    }

    #[test]
    fn other_architectures() {
        let arm64 =
            "processor\t: 0\nBogoMIPS\t: 50.00\nCPU part\t: 0xd0c\n\nprocessor\t: 1\nBogoMIPS\t: 50.00\n\n";
        assert_eq!(shown(arm64, "0-1", None), arm64);
        let with_trailer = format!("{arm64}Hardware\t: Board\nSerial\t: 0\n");
        let one = shown(&with_trailer, "0-1", Some(500));
        assert_eq!(one.matches("processor").count(), 1);
        assert!(one.ends_with("\n\nHardware\t: Board\nSerial\t: 0\n"), "{one}");
    }
}
