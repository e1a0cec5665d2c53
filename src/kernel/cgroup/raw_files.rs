//! Files of a container's cgroup whose text views parse themselves.

use super::context::ReadContext;
use super::events;
use super::mounts::Hierarchy;
use crate::error::Error;
use crate::rate_limited_log::malformed_counter;
use cgprocfs_core::parse::CgroupVersion;
use cgprocfs_core::parse::flat_keyed::{count_of, malformed_keys};
use cgprocfs_core::parse::io_stat::malformed_counters;
use cgprocfs_core::snapshot::{CgroupFile, RawFile};
use rustix::io::Errno;

/// Reads a file; `None` if the container has no such file.
pub(crate) fn read_raw(context: ReadContext<'_>, file: CgroupFile) -> Result<Option<RawFile>, Error> {
    let ReadContext { cgroup_mounts, caller, .. } = context;
    let (hierarchy, names) = match file {
        CgroupFile::PressureCpu => (cgroup_mounts.pressure.as_ref(), [&["cpu.pressure"][..]; 2]),
        CgroupFile::PressureMemory => (cgroup_mounts.pressure.as_ref(), [&["memory.pressure"][..]; 2]),
        CgroupFile::PressureIo => (cgroup_mounts.pressure.as_ref(), [&["io.pressure"][..]; 2]),
        CgroupFile::MemoryStat => (Some(&cgroup_mounts.memory), [&["memory.stat"][..]; 2]),
        CgroupFile::MemoryEvents => {
            (Some(&cgroup_mounts.memory), [&["memory.oom_control"][..], &["memory.events"]])
        }
        CgroupFile::Io => (
            cgroup_mounts.io.as_ref(),
            [
                &["blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_serviced_recursive"][..],
                &["io.stat"],
            ],
        ),
    };
    let Some(hierarchy) = hierarchy else { return Ok(None) };
    let Some(container) = caller.container_in(hierarchy)? else { return Ok(None) };
    let names = match hierarchy.version {
        CgroupVersion::V1 => names[0],
        CgroupVersion::V2 => names[1],
    };
    let mut text = Vec::new();
    for name in names {
        let read = hierarchy.locate(container).read(name, |part| {
            text.extend_from_slice(part);
            Ok(())
        });
        if read?.is_none() {
            return match file {
                CgroupFile::PressureCpu | CgroupFile::PressureMemory | CgroupFile::PressureIo => {
                    missing_pressure(hierarchy, container).map(|()| None)
                }
                CgroupFile::MemoryStat | CgroupFile::MemoryEvents | CgroupFile::Io => Ok(None),
            };
        }
    }
    log_malformed(file, hierarchy.version, container, &text);
    if file == CgroupFile::MemoryEvents && hierarchy.events_are_local {
        add_kills_below(hierarchy, container, caller.may_take_long, &mut text)?;
    }
    Ok(Some(RawFile { version: hierarchy.version, text }))
}

/// Logs the malformed counters of a file.
pub(crate) fn log_malformed(file: CgroupFile, version: CgroupVersion, container: &[u8], text: &[u8]) {
    let log = |name: &str, key: &[u8]| malformed_counter(container, name, key);
    let of_events = if version == CgroupVersion::V1 { "memory.oom_control" } else { "memory.events" };
    let of_io = if version == CgroupVersion::V1 { "blkio.throttle.*" } else { "io.stat" };
    match file {
        CgroupFile::MemoryStat => malformed_keys(text).for_each(|key| log("memory.stat", key)),
        CgroupFile::MemoryEvents => malformed_keys(text).for_each(|key| log(of_events, key)),
        CgroupFile::Io => malformed_counters(text).for_each(|key| log(of_io, key)),
        CgroupFile::PressureCpu | CgroupFile::PressureMemory | CgroupFile::PressureIo => {}
    }
}

/// Adds the OOM kills of the cgroups below the container, as far as these still exist, where a cgroup counts
/// its own alone.
fn add_kills_below(
    hierarchy: &Hierarchy,
    container: &[u8],
    may_take_long: bool,
    text: &mut Vec<u8>,
) -> Result<(), Error> {
    let directory = hierarchy.locate(container).open_dir()?;
    let below = events::kills_below(hierarchy.version, &directory, may_take_long);
    let Some(below) = below.map_err(|e| Error::of_cgroup(container, e))? else {
        return Err(Error::TakesLong(container.into()));
    };
    if below > 0 {
        let own = count_of(text, "oom_kill");
        *text = format!("oom_kill {}\n", own.saturating_add(below)).into_bytes();
    }
    Ok(())
}

/// Finds out why a cgroup has no file of pressure.
///
/// # Errors
/// ENOENT if `cgroup.pressure` is 0, which removes the files of this cgroup: a reader is told what it would
/// be told of the kernel's own file. Otherwise the kernel has pressure of no cgroup, which is no error.
pub(crate) fn missing_pressure(hierarchy: &Hierarchy, cgroup: &[u8]) -> Result<(), Error> {
    let location = hierarchy.locate(cgroup);
    match location.read("cgroup.pressure", |text| Ok(text.trim_ascii() == b"0"))? {
        Some(true) => Err(Error::Errno(Errno::NOENT)),
        Some(false) => Ok(()),
        None => location.status().map(drop).map_err(|e| Error::of_cgroup(cgroup, e)),
    }
}
