//! The host's memory, for a container and for whoever is in none.

use super::cgroup_files::CgroupFiles;
use super::context::ReadContext;
use super::cpusets;
use super::huge_pages;
use super::mounts::Hierarchy;
use crate::error::Error;
use crate::kernel::host::files::HostFiles;
use cgprocfs_core::parse::meminfo::{Field, Meminfo};
use cgprocfs_core::parse::memory_stat::MemoryStat;
use cgprocfs_core::snapshot::{Container, Level, Needs, Scope, Snapshot};
use cgprocfs_core::units::Bytes;

/// Reads into `container` what limits it besides the memory controller: the memory and the huge pages of the
/// nodes that it may use, its limits on huge pages, and what ZFS would give back.
///
/// # Errors
/// If a file of the host or of a cgroup can't be read.
pub(crate) fn fill(
    container: &mut Container,
    meminfo: &Meminfo,
    context: ReadContext<'_>,
) -> Result<(), Error> {
    let ReadContext { cgroup_mounts, host, caller, .. } = context;
    container.zfs_reclaimable = host.zfs_reclaimable();
    let nodes = match (&host.several_nodes, &cgroup_mounts.cpuset) {
        (Some(files), Some(cpuset)) => {
            cpusets::nodes_with_memory(files, cpuset, caller)?.map(|allowed| (files, allowed))
        }
        _ => None,
    };
    container.nodes = match &nodes {
        Some((files, allowed)) => files.memory(allowed)?,
        None => None,
    };
    if let Some(directory) = &host.huge_pages {
        let nodes = nodes.as_ref().map(|(files, allowed)| (*files, allowed));
        container.huge_pages = huge_pages::pools(directory, meminfo, cgroup_mounts, caller, nodes)?;
    }
    Ok(())
}

/// Reads the host's meminfo and, if usage is needed, the root cgroup's numbers.
///
/// # Errors
/// If one of them can't be read.
pub(crate) fn read_root(host: &HostFiles, memory: &Hierarchy, needs: Needs) -> Result<Snapshot, Error> {
    let mut root = Level::default();
    if needs.covers(Needs::USAGE) {
        CgroupFiles::open(memory, memory.locate(b"/"))?.fill_usage(&mut root, None)?;
    }
    let usage_by_meminfo = needs.covers(Needs::USAGE) && root.stat.is_none();
    let meminfo = match needs.covers(Needs::LEVELS) || usage_by_meminfo {
        true => Some(host.meminfo()?),
        false => None,
    };
    if let (true, Some(meminfo)) = (usage_by_meminfo, &meminfo) {
        root.stat = Some(stat_by_meminfo(meminfo));
    }
    Ok(Snapshot::of_memory(meminfo, host.machine, Scope::Host(Box::new(root))))
}

/// The root's statistics by the host's meminfo, which has the same counters: before Linux 5.8 the root of
/// cgroup v2 has no `memory.stat`.
fn stat_by_meminfo(meminfo: &Meminfo) -> MemoryStat {
    let bytes = |field| Some(Bytes::new(meminfo.kib(field).get().saturating_mul(1024)));
    let file = meminfo.kib(Field::Cached) + meminfo.kib(Field::Buffers);
    MemoryStat {
        anon: bytes(Field::AnonPages),
        file: Some(Bytes::new(file.get().saturating_mul(1024))),
        inactive_file: bytes(Field::InactiveFile),
        active_file: bytes(Field::ActiveFile),
        ..MemoryStat::default()
    }
}
