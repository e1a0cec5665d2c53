//! What the calling process may use of memory, by its own cgroup: what `free` would show if procfs knew of cgroups.
//!
//! `cargo run -p cgprocfs-core --example own_memory`

use cgprocfs_core::machine::Machine;
use cgprocfs_core::parse::meminfo::Meminfo;
use cgprocfs_core::parse::proc_cgroup::memberships;
use cgprocfs_core::parse::{CgroupVersion, counter, memory_stat::MemoryStat};
use cgprocfs_core::snapshot::{Container, Level, Scope, Snapshot};
use cgprocfs_core::view::find;
use std::error::Error;
use std::ffi::OsStr;
use std::fs;
use std::io::{Write, stdout};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let text = fs::read("/proc/self/cgroup")?;
    let all: Vec<_> = memberships(&text)?.collect::<Result<_, _>>()?;
    let of_memory = all.iter().find(|own| own.has_controller("memory"));
    let own = of_memory.or(all.iter().find(|own| own.is_v2())).ok_or("this process is in no cgroup")?;
    let (version, mount, limit, usage) = match own.is_v2() {
        true => (CgroupVersion::V2, "/sys/fs/cgroup", "memory.max", "memory.current"),
        false => {
            (CgroupVersion::V1, "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes")
        }
    };
    let cgroup = Path::new(mount).join(Path::new(OsStr::from_bytes(own.path)).strip_prefix("/")?);
    let read =
        |name: &str| fs::read(cgroup.join(name)).map_err(|e| format!("{}: {e}", cgroup.join(name).display()));

    let level = Level {
        limit: counter::limit(&read(limit)?)?,
        usage: Some(counter::usage(&read(usage)?)?),
        stat: Some(MemoryStat::parse(version, &read("memory.stat")?)?),
        ..Level::default()
    };
    let container = Scope::Container(Container { levels: vec![level], ..Container::default() });
    let host = Meminfo::parse(fs::read("/proc/meminfo")?)?;
    let snapshot = Snapshot::of_memory(Some(host.into()), Machine::USUAL, container);
    let mut meminfo = Vec::new();
    find("meminfo").ok_or("no such view")?.text(&snapshot, &mut meminfo)?;
    Ok(stdout().write_all(&meminfo)?)
}
