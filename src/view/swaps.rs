//! `proc/swaps`: the container's share of swap, as one area.

use super::{NotLoaded, View, meminfo};
use crate::parse::meminfo::Field;
use crate::snapshot::{Native, Needs, Scope, Snapshot};
use std::io::Write;

/// The columns of `swap_show()` (mm/swapfile.c), in kibibytes; no line where the container has no swap. The size is
/// `SwapTotal`; what is used is the container's alone, so that less may be free than the rest.
pub struct Swaps;

impl View for Swaps {
    fn path(&self) -> &'static str {
        Native::Swaps.path()
    }

    fn ino(&self) -> u64 {
        20
    }

    fn native(&self) -> Option<Native> {
        Some(Native::Swaps)
    }

    fn needs(&self) -> Needs {
        meminfo::Meminfo.needs().and(Needs::native(Native::Swaps))
    }

    fn render(&self, snapshot: &Snapshot, out: &mut Vec<u8>) -> Result<(), NotLoaded> {
        let native = snapshot.native(Native::Swaps)?;
        let Scope::Container(container) = &snapshot.scope else { return Err(NotLoaded("the container")) };
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
