//! What the calling process may use of memory, by its own cgroup: what `free` would show if procfs knew of
//! cgroups.
//!
//! `cargo run -p cgprocfs-core --example own_memory`

use cgprocfs_core::machine::Machine;
use cgprocfs_core::parse::{meminfo::Meminfo, proc_cgroup::Membership};
use cgprocfs_core::snapshot::{Container, Scope, Snapshot};
use cgprocfs_core::view::{View, meminfo};
use std::io::{ErrorKind, Write, stdout};
use std::{error::Error, ffi::OsStr, fs, os::unix::ffi::OsStrExt, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let text = fs::read("/proc/self/cgroup")?;
    let own = Membership::parse_of_memory(&text)?.ok_or("this process is in no cgroup")?;
    let mount = Path::new(if own.is_v2() { "/sys/fs/cgroup" } else { "/sys/fs/cgroup/memory" });
    let file = |cgroup: &[u8], name: &str| mount.join(OsStr::from_bytes(&cgroup[1..])).join(name);
    let container = Container::parse(&own, |cgroup, name| match fs::read(file(cgroup, name)) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        text => Ok::<_, Box<dyn Error>>(Some(text?)),
    })?;
    let host = Meminfo::parse(fs::read("/proc/meminfo")?)?;
    let snapshot = Snapshot::of_memory(Some(host.into()), Machine::USUAL, Scope::Container(container));
    let mut out = Vec::new();
    meminfo::Meminfo.text(&snapshot, &mut out)?;
    Ok(stdout().write_all(&out)?)
}
