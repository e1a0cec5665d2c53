//! `proc/meminfo`: the host's file, line for line, with the container's values.

use super::contract::View;
use crate::error::ViewError;
use crate::memory::{self, Values};
use crate::parse::meminfo::{Key, Meminfo as HostMeminfo};
use crate::snapshot::{Needs, Scope, Snapshot};
use std::io::Write;

/// The file that `free`, `top` and nearly every program that asks for memory reads.
///
/// It has exactly the lines of the running kernel's own file in their order, so that a program finds
/// what it looks for. A line that came with a kernel newer than this program reads 0, never the host's
/// figure. A reader outside any container gets the host's file unchanged.
pub struct Meminfo;

impl View for Meminfo {
    fn path(&self) -> &'static str {
        "proc/meminfo"
    }

    fn needs(&self) -> Needs {
        Needs::USAGE.and(Needs::LEVELS)
    }

    fn render(&self, snapshot: &Snapshot, out: &mut Vec<u8>) -> Result<(), ViewError> {
        let host = snapshot.meminfo.as_ref().ok_or(ViewError::NotLoaded("the host's meminfo"))?;
        match &snapshot.scope {
            Scope::Host(_) => out.extend_from_slice(host.text()),
            Scope::Container(container) => {
                let values = memory::compute(host, container, snapshot.machine.page)?;
                print(host, &values, out);
            }
        }
        Ok(())
    }
}

/// `show_val_kb()` of `fs/proc/meminfo.c`: key and colon padded to 16, the number to 8; what a longer key
/// takes, its number does without.
fn print(host: &HostMeminfo, values: &Values, out: &mut Vec<u8>) {
    for line in host.lines() {
        let (key, value) = match &line.key {
            Key::Known(field) => (field.key().as_bytes(), values.get(*field).get()),
            Key::Unknown(key) => (&**key, 0),
        };
        out.extend_from_slice(key);
        out.push(b':');
        let padding = 15usize.saturating_sub(key.len());
        let width = 23usize.saturating_sub(key.len()).min(8);
        let unit = if line.in_kib { " kB" } else { "" };
        // Writing to a Vec never fails.
        let _ = writeln!(out, "{:padding$}{value:width$}{unit}", "");
    }
}
