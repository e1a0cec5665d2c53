//! `proc/cpuinfo`: an entry for each processor that the container has.

use super::contract::View;
use crate::cpu::Cpus;
use crate::error::ViewError;
use crate::snapshot::{HostFile, Needs, Snapshot};
use std::io::Write;

/// The kernel's entries of the processors that stand for the container's ([`Cpus::usable`]), numbered from 0,
/// as one package of as many cores. What an entry says of the hardware is the host's.
///
/// Each architecture has a form of its own (`show_cpuinfo()` or `c_show()` below arch/): most have an entry a
/// processor with a blank line after it, s390x has one before it, and the first line of an entry is
/// `processor` or `cpu number`. Lines that belong to no processor come first (MIPS, LoongArch, s390x; ARM
/// before Linux 3.8 and MIPS have them in the paragraph of the first processor) or last (ARM, POWER), and
/// stay where they are. s390x counts and lists the processors in them. ARM before Linux 3.19 has 64-bit
/// processors one right after the other, and then what holds for all.
pub struct Cpuinfo;

impl View for Cpuinfo {
    fn path(&self) -> &'static str {
        HostFile::Cpuinfo.path()
    }

    /// A processor has some 1,500 bytes.
    fn claimed_size(&self) -> u64 {
        1 << 20
    }

    fn host_file(&self) -> Option<HostFile> {
        Some(HostFile::Cpuinfo)
    }

    fn needs(&self) -> Needs {
        Needs::CPUS.and(Needs::host_file(HostFile::Cpuinfo))
    }

    fn render(&self, snapshot: &Snapshot, out: &mut Vec<u8>) -> Result<(), ViewError> {
        let native = snapshot.host_file(HostFile::Cpuinfo)?;
        print(native, snapshot.cpus.as_ref().ok_or(ViewError::NotLoaded("the processors"))?, out);
        Ok(())
    }
}

fn print(native: &[u8], cpus: &Cpus, out: &mut Vec<u8>) {
    let parts = Parts::of(native);
    let (usable, count) = (cpus.usable(), cpus.count());
    let shown: Vec<u32> = usable.iter().collect();
    print_head(parts.head, &shown, count, out);
    let entry_of = |number: u32| parts.entries.iter().find(|(known, _)| *known == number);
    let entries = shown.iter().enumerate().filter_map(|(own, number)| Some((own, entry_of(*number)?.1)));
    for (index, (own, entry)) in entries.enumerate() {
        if index > 0 {
            out.extend_from_slice(parts.separator);
        }
        print_entry(entry, own, count, out);
    }
    out.extend_from_slice(parts.tail);
}

/// The file in parts.
#[derive(Default)]
struct Parts<'t> {
    /// Lines before the first processor.
    head: &'t [u8],
    /// Numbers of processors, and the lines of each.
    entries: Vec<(u32, &'t [u8])>,
    /// Blank lines between two entries.
    separator: &'t [u8],
    /// Blank lines after the last entry, and lines of no processor.
    tail: &'t [u8],
}

impl<'t> Parts<'t> {
    fn of(native: &'t [u8]) -> Self {
        let mut at = 0;
        let starts = native.split_inclusive(|&b| b == b'\n').filter_map(|line| {
            let start = at;
            at += line.len();
            Some((start, processor(line)?))
        });
        let starts: Vec<(usize, u32)> = starts.collect();
        let Some(&(first, _)) = starts.first() else { return Self { head: native, ..Self::default() } };
        let mut parts = Self { head: &native[..first], ..Self::default() };
        let are_numbers_alone = starts.len() > 1
            && starts.windows(2).all(|pair| {
                let entry = &native[pair[0].0..pair[1].0];
                entry.split(|&b| b == b'\n').filter(|line| !line.is_empty()).count() == 1
                    && !entry.ends_with(b"\n\n")
            });
        for (index, (start, number)) in starts.iter().enumerate() {
            let next = starts.get(index + 1).map(|(next, _)| *next);
            let rest = &native[*start..next.unwrap_or(native.len())];
            // An entry ends with its paragraph.
            let ends = if are_numbers_alone { &b"\n"[..] } else { b"\n\n" };
            let end =
                rest.windows(ends.len()).position(|bytes| bytes == ends).map_or(rest.len(), |end| end + 1);
            let (entry, after) = rest.split_at(end);
            parts.entries.push((*number, entry));
            match next {
                Some(_) if index == 0 => parts.separator = after,
                Some(_) => {}
                None => parts.tail = after,
            }
        }
        parts
    }
}

/// The number of the processor whose entry begins with this line.
fn processor(line: &[u8]) -> Option<u32> {
    match split(line)? {
        (b"processor" | b"cpu number", value) => number(value),
        _ => None,
    }
}

fn number(digits: &[u8]) -> Option<u32> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// A line's key, and its value behind the colon.
fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|&b| b == b':')?;
    Some((line[..colon].trim_ascii_end(), line[colon + 1..].trim_ascii()))
}

/// On s390x `# processors    : 4` and, for each of them, `processor 0: version = …`.
fn print_head(head: &[u8], shown: &[u32], count: usize, out: &mut Vec<u8>) {
    for line in head.split_inclusive(|&b| b == b'\n') {
        let key = split(line).map_or(&b""[..], |(key, _)| key);
        if key == b"# processors" {
            print_value(line, count, out);
        } else if key == b"max thread id" {
            // Each is a core of its own.
            print_value(line, 0, out);
        } else if let Some(host) = key.strip_prefix(b"processor ").and_then(number) {
            if let Some(own) = shown.iter().position(|number| *number == host) {
                let rest = &line[line.iter().position(|&b| b == b':').unwrap_or(0)..];
                // Writing to a Vec never fails.
                let _ = write!(out, "processor {own}");
                out.extend_from_slice(rest);
            }
        } else {
            out.extend_from_slice(line);
        }
    }
}

/// Prints an entry. Lines about the topology, by whatever names an architecture has for them, get the
/// container's.
fn print_entry(entry: &[u8], own: usize, count: usize, out: &mut Vec<u8>) {
    for line in entry.split_inclusive(|&b| b == b'\n') {
        match split(line).map_or(&b""[..], |(key, _)| key) {
            b"processor" | b"cpu number" | b"core id" | b"core" | b"apicid" | b"initial apicid"
            | b"address" | b"hart" | b"global_id" => print_value(line, own, out),
            b"siblings" | b"cpu cores" => print_value(line, count, out),
            b"physical id" | b"package" | b"book id" | b"drawer id" | b"VPE" => print_value(line, 0, out),
            _ => out.extend_from_slice(line),
        }
    }
}

/// The line with another value.
fn print_value(line: &[u8], value: usize, out: &mut Vec<u8>) {
    let colon = line.iter().position(|&b| b == b':').unwrap_or(0);
    out.extend_from_slice(&line[..colon]);
    // Writing to a Vec never fails.
    let _ = writeln!(out, ": {value}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::cpu_list::CpuList;
    use crate::units::MilliCpus;

    fn shown(native: &str, online: &str, quota: Option<u64>) -> String {
        let online = CpuList::parse(format!("{online}\n").as_bytes()).unwrap();
        let cpus = Cpus { online, quota: quota.map(MilliCpus::new), ..Cpus::default() };
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
        // 64-bit ARM before Linux 3.19.
        let list = "Processor\t: AArch64 Processor rev 3 (aarch64)\nprocessor\t: 0\nprocessor\t: 1\nprocessor\t: 2\n\
            Features\t: fp asimd \nCPU part\t: 0xd03\n\nHardware\t: Board\n";
        assert_eq!(shown(list, "0-2", None), list);
        assert_eq!(shown(list, "1", None), list.replace("processor\t: 1\nprocessor\t: 2\n", ""));
        // A kernel for one processor does not number it.
        let single = "Processor\t: ARM926EJ-S rev 5 (v5l)\nBogoMIPS\t: 530.84\n\nHardware\t: Board\n";
        assert_eq!(shown(single, "0", None), single);
    }

    /// On s390x older kernels have no entries, nor have newer ones where the machine does not say how fast it
    /// is.
    #[test]
    fn processors_in_the_head_alone() {
        let s390x = "vendor_id       : IBM/S390\n# processors    : 3\nfeatures\t: esan3 zarch \n\
            processor 0: version = FF,  identification = 0A\nprocessor 1: version = FF,  identification = 1A\n\
            processor 2: version = FF,  identification = 2A\n";
        assert_eq!(shown(s390x, "0-2", None), s390x);
        assert_eq!(
            shown(s390x, "0,2", None),
            "vendor_id       : IBM/S390\n# processors    : 2\nfeatures\t: esan3 zarch \n\
            processor 0: version = FF,  identification = 0A\nprocessor 1: version = FF,  identification = 2A\n"
        );
    }
}
