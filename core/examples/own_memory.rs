//! What the calling process may use of memory, by its own cgroup: what `free` would show if procfs knew of cgroups.
//!
//! `cargo run -p cgprocfs-core --example own_memory`

use cgprocfs_core::machine::Machine;
use cgprocfs_core::parse::{meminfo::Meminfo, memory_files::MemoryFileNames, proc_cgroup::Membership};
use cgprocfs_core::snapshot::{Container, Level, Scope, Snapshot};
use cgprocfs_core::view::{View, meminfo};
use std::io::{Write, stdout};
use std::{error::Error, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let text = fs::read_to_string("/proc/self/cgroup")?;
    let own = Membership::parse_of_memory(text.as_bytes())?.ok_or("this process is in no cgroup")?;
    let (version, mount) =
        (own.version(), if own.is_v2() { "/sys/fs/cgroup" } else { "/sys/fs/cgroup/memory" });
    let cgroup = format!("{mount}{}", std::str::from_utf8(own.path)?);
    let above = Path::new(&cgroup).ancestors().take_while(|level| level.starts_with(mount));
    let levels = above.filter(|level| level.join(MemoryFileNames::of(version).limit).exists());
    let read =
        |level: &Path| Level::parse(version, |file| Ok::<_, Box<dyn Error>>(fs::read(level.join(file))?));
    let container = Container { levels: levels.map(read).collect::<Result<_, _>>()?, ..Container::default() };
    let host = Meminfo::parse(fs::read("/proc/meminfo")?)?;
    let snapshot = Snapshot::of_memory(Some(host.into()), Machine::USUAL, Scope::Container(container));
    let mut out = Vec::new();
    meminfo::Meminfo.text(&snapshot, &mut out)?;
    Ok(stdout().write_all(&out)?)
}
