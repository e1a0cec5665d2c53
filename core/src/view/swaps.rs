//! `proc/swaps`: the container's share of swap, as one area.

use super::contract::View;
use super::meminfo;
use crate::error::ViewError;
use crate::parse::meminfo::Field;
use crate::snapshot::{HostFile, Needs, Scope, Snapshot};
use std::io::Write;

/// The columns of `swap_show()` (mm/swapfile.c), in kibibytes; no line where the container has no swap. The size is
/// `SwapTotal`; what is used is the container's alone, so less than the rest may be free.
pub struct Swaps;

impl View for Swaps {
    fn path(&self) -> &'static str {
        HostFile::Swaps.path()
    }

    fn host_file(&self) -> Option<HostFile> {
        Some(HostFile::Swaps)
    }

    fn needs(&self) -> Needs {
        meminfo::Meminfo.needs().and(Needs::host_file(HostFile::Swaps))
    }

    fn render(&self, snapshot: &Snapshot, out: &mut Vec<u8>) -> Result<(), ViewError> {
        let native = snapshot.host_file(HostFile::Swaps)?;
        let Scope::Container(container) = &snapshot.scope else {
            return Err(ViewError::NotLoaded("the container"));
        };
        // The header is the kernel's own: it has changed over time.
        out.extend(native.split_inclusive(|&b| b == b'\n').next().unwrap_or_default());
        let [total] = meminfo::values(snapshot, container, [Field::SwapTotal])?;
        if total.get() > 0 {
            let used = meminfo::swapped(snapshot, container)?.min(total);
            let tab = |number: u64| if number < 10_000_000 { "\t" } else { "" };
            // Writing to a Vec never fails.
            let _ = writeln!(
                out,
                "{:40}partition\t{total}\t{}{used}\t{}-1",
                "none",
                tab(total.get()),
                tab(used.get())
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;
    use crate::parse::meminfo::Meminfo as HostMeminfo;
    use crate::parse::memory_stat::MemoryStat;
    use crate::snapshot::{Container, Level, Swap};
    use crate::units::Bytes;

    /// Others have filled the host's swap, of which the container has 2 MiB.
    #[test]
    fn what_others_have_swapped_is_not_the_containers() {
        let level = Level {
            usage: Some(Bytes::ZERO),
            stat: Some(MemoryStat::default()),
            swap: Swap::V2 { limit: Some(Bytes::new(50 << 20)), usage: Bytes::new(2 << 20) },
            ..Level::default()
        };
        let container = Container { levels: vec![level], ..Container::default() };
        let host = "MemTotal: 1048576 kB\nSwapTotal: 1048576 kB\nSwapFree: 1024 kB\n";
        let host = HostMeminfo::parse(host.as_bytes().to_vec()).unwrap();
        let mut snapshot =
            Snapshot::of_memory(Some(host.into()), Machine::USUAL, Scope::Container(container));
        snapshot.host_files.push((HostFile::Swaps, b"Filename\n/swap\n".as_slice().into()));
        let mut out = Vec::new();
        Swaps.render(&snapshot, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let words: Vec<&str> = text.split_whitespace().collect();
        assert_eq!(words, ["Filename", "none", "partition", "51200", "2048", "-1"]);
    }
}
