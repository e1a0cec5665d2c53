//! `proc/swaps`: the container's share of swap, as one area.

use super::contract::View;
use super::meminfo;
use crate::error::ViewError;
use crate::memory;
use crate::parse::meminfo::Field;
use crate::snapshot::{HostFile, Needs, Scope, Snapshot};
use std::io::Write;

/// The columns of `swap_show()` (mm/swapfile.c), in kibibytes; no line where the container has no swap. The
/// size is `SwapTotal`; what is used is the container's alone, so less than the rest may be free.
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
        let [total] = memory::values(snapshot, container, [Field::SwapTotal])?;
        if total.get() > 0 {
            let used = memory::swapped(snapshot, container)?.min(total);
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

    fn level(limit: Option<u64>, usage: u64) -> Level {
        Level {
            usage: Some(Bytes::ZERO),
            stat: Some(MemoryStat::default()),
            swap: Swap::V2 { limit: limit.map(|mib| Bytes::new(mib << 20)), usage: Bytes::new(usage << 20) },
            ..Level::default()
        }
    }

    /// Total, used and free.
    fn shown(container: Container, host_free: &str) -> [u64; 3] {
        let host = format!("MemTotal: 1048576 kB\nSwapTotal: 1048576 kB\nSwapFree: {host_free} kB\n");
        let host = HostMeminfo::parse(host.into_bytes()).unwrap();
        let mut snapshot =
            Snapshot::of_memory(Some(host.into()), Machine::USUAL, Scope::Container(container));
        snapshot.host_files.push((HostFile::Swaps, b"Filename\n/swap\n".as_slice().into()));
        let mut out = Vec::new();
        Swaps.render(&snapshot, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let words: Vec<&str> = text.split_whitespace().collect();
        assert_eq!((words.len(), words[1]), (6, "none"), "{text}");
        let Scope::Container(container) = &snapshot.scope else { panic!() };
        let [free] = memory::values(&snapshot, container, [Field::SwapFree]).unwrap();
        [words[3].parse().unwrap(), words[4].parse().unwrap(), free.get()]
    }

    /// A cgroup below the container with a smaller limit has what it has used itself.
    #[test]
    fn a_smaller_limit_below_the_container() {
        let container = |inner: Option<u64>| {
            let levels = vec![level(inner, 3), level(Some(500), 300)];
            Container { levels, index: 1, ..Container::default() }
        };
        assert_eq!(shown(container(Some(200)), "1048576"), [204_800, 3072, 201_728]);
        assert_eq!(shown(container(Some(600)), "1048576"), [512_000, 307_200, 204_800]);
        assert_eq!(shown(container(None), "1048576"), [512_000, 307_200, 204_800]);
    }

    /// Others have filled the host's swap, of which the container has 2 MiB.
    #[test]
    fn what_others_have_swapped_is_not_the_containers() {
        let container = Container { levels: vec![level(Some(50), 2)], ..Container::default() };
        assert_eq!(shown(container, "1024"), [51_200, 2048, 1024]);
    }
}
