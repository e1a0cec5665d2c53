//! Files of a container's cgroup that are read as they are, and not kept open.

use super::events;
use super::mounts::{CgroupMounts, Hierarchy};
use super::paths::Place;
use crate::error::{Error, escaped};
use crate::kernel::identity::caller::Caller;
use crate::kernel::procfs::{PATH_DIR, READ, read_whole};
use crate::rate_limited_log::{odd_counter, odd_value};
use cgprocfs_core::parse::CgroupVersion;
use cgprocfs_core::parse::ParseError;
use cgprocfs_core::parse::flat_keyed::{count_of, odd_keys};
use cgprocfs_core::parse::io_stat::odd_words;
use cgprocfs_core::snapshot::CgroupFile;
use rustix::fs::{AtFlags, Mode, openat, statat};
use rustix::io::Errno;

/// Reads one; `None` where the container has none.
pub(crate) fn text_of(
    cgroup_mounts: &CgroupMounts,
    caller: &Caller<'_>,
    file: CgroupFile,
    buffer: &mut Vec<u8>,
) -> Result<Option<Vec<u8>>, Error> {
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
        let read = read(container, hierarchy.place(container), name, buffer, |part| {
            text.extend_from_slice(part);
            Ok(())
        });
        if read?.is_none() {
            return match file {
                CgroupFile::PressureCpu | CgroupFile::PressureMemory | CgroupFile::PressureIo => {
                    no_account(hierarchy, container).map(|()| None)
                }
                CgroupFile::MemoryStat | CgroupFile::MemoryEvents | CgroupFile::Io => Ok(None),
            };
        }
    }
    note_odd(file, container, &text);
    if file == CgroupFile::MemoryEvents && hierarchy.events_are_local {
        add_kills_below(hierarchy, container, caller.may_take_long, &mut text)?;
    }
    Ok(Some(text))
}

/// Says which counters of a view's make no sense, if some do.
pub(crate) fn note_odd(file: CgroupFile, container: &[u8], text: &[u8]) {
    let note = |name: &str, odd: &[u8]| odd_counter(container, name, odd);
    let of_io = |word: &[u8]| if word.contains(&b'=') { "io.stat" } else { "blkio.throttle.*" };
    match file {
        CgroupFile::MemoryStat => odd_keys(text).for_each(|key| note("memory.stat", key)),
        CgroupFile::MemoryEvents => odd_keys(text).for_each(|key| note("memory.events", key)),
        CgroupFile::Io => odd_words(text).for_each(|word| note(of_io(word), word)),
        CgroupFile::PressureCpu | CgroupFile::PressureMemory | CgroupFile::PressureIo => {}
    }
}

/// A cgroup's events may be its own alone: those of the cgroups below, as far as they are still there, are the container's,
/// too.
fn add_kills_below(
    hierarchy: &Hierarchy,
    container: &[u8],
    may_take_long: bool,
    text: &mut Vec<u8>,
) -> Result<(), Error> {
    let place = hierarchy.place(container);
    let directory = openat(place.0, place.1, PATH_DIR, Mode::empty());
    let directory = directory.map_err(|e| Error::of_cgroup(container, e))?;
    let below = events::kills_below(hierarchy.version, &directory, may_take_long);
    let Some(below) = below.map_err(|e| Error::of_cgroup(container, e))? else {
        return Err(Error::TakesLong(escaped(container)));
    };
    if below > 0 {
        let own = count_of(text, "oom_kill");
        *text = format!("oom_kill {}\n", own.saturating_add(below)).into_bytes();
    }
    Ok(())
}

/// Reads a file of the cgroup at `place` that is not kept open; `None` if there is none.
pub(crate) fn read<T>(
    cgroup: &[u8],
    place: Place<'_>,
    name: &str,
    buffer: &mut Vec<u8>,
    parse: impl FnOnce(&[u8]) -> Result<T, ParseError>,
) -> Result<Option<T>, Error> {
    let path = || format!("{}/{name}", escaped(cgroup));
    let file = match openat(place.0, place.1.join(name), READ, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(e) => return Err(Error::unreadable(path(), e)),
    };
    read_whole(file, buffer).map_err(|e| Error::unreadable(path(), e))?;
    parse(buffer).map(Some).map_err(|e| Error::malformed(path(), e))
}

/// Likewise; `None` also where it makes no sense, which is said in the log.
pub(crate) fn read_sound<T>(
    cgroup: &[u8],
    place: Place<'_>,
    name: &str,
    buffer: &mut Vec<u8>,
    parse: impl FnOnce(&[u8]) -> Result<T, ParseError>,
) -> Result<Option<T>, Error> {
    match read(cgroup, place, name, buffer, parse) {
        Err(Error::Malformed { .. }) => {
            odd_value(cgroup, name);
            Ok(None)
        }
        read => read,
    }
}

/// Why a cgroup has no file of pressure. The kernel keeps no account of one whose `cgroup.pressure` is 0, and a reader is told
/// what it would be told of the kernel's own file; else it keeps none of any cgroup, and the container's is not known.
pub(crate) fn no_account(hierarchy: &Hierarchy, cgroup: &[u8]) -> Result<(), Error> {
    let place = hierarchy.place(cgroup);
    match read(cgroup, place, "cgroup.pressure", &mut Vec::new(), |text| Ok(text.trim_ascii() == b"0"))? {
        Some(true) => Err(Error::Errno(Errno::NOENT)),
        Some(false) => Ok(()),
        None => statat(place.0, place.1, AtFlags::empty()).map(drop).map_err(|e| Error::of_cgroup(cgroup, e)),
    }
}
