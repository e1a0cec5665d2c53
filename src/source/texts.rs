//! Files of a container's cgroup that are read as they are, and not kept open.

use super::caller::Caller;
use super::cgroup_files::Place;
use super::layout::Layout;
use super::procfs::{READ, read_whole};
use crate::error::{Error, printable};
use crate::parse::CgroupVersion;
use crate::parse::ParseError;
use crate::snapshot::CgroupFile;
use rustix::fs::{Mode, openat};
use rustix::io::Errno;

/// Reads one; `None` where the container has none.
pub(super) fn text_of(
    layout: &Layout,
    caller: &Caller<'_>,
    file: CgroupFile,
    buffer: &mut Vec<u8>,
) -> Result<Option<Vec<u8>>, Error> {
    let (hierarchy, names) = match file {
        CgroupFile::PressureCpu => (layout.pressure.as_ref(), [&["cpu.pressure"][..]; 2]),
        CgroupFile::PressureMemory => (layout.pressure.as_ref(), [&["memory.pressure"][..]; 2]),
        CgroupFile::PressureIo => (layout.pressure.as_ref(), [&["io.pressure"][..]; 2]),
        CgroupFile::MemoryStat => (Some(&layout.memory), [&["memory.stat"][..]; 2]),
        CgroupFile::MemoryEvents => (Some(&layout.memory), [&["memory.oom_control"][..], &["memory.events"]]),
        CgroupFile::Io => (
            layout.io.as_ref(),
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
            return Ok(None);
        }
    }
    Ok(Some(text))
}

/// Reads a file of the cgroup at `place` that is not kept open; `None` if there is none.
pub(super) fn read<T>(
    cgroup: &[u8],
    place: Place<'_>,
    name: &str,
    buffer: &mut Vec<u8>,
    parse: impl FnOnce(&[u8]) -> Result<T, ParseError>,
) -> Result<Option<T>, Error> {
    let path = || format!("{}/{name}", printable(cgroup));
    let file = match openat(place.0, place.1.join(name), READ, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(e) => return Err(Error::unreadable(path(), e)),
    };
    read_whole(file, buffer).map_err(|e| Error::unreadable(path(), e))?;
    parse(buffer).map(Some).map_err(|e| Error::malformed(path(), e))
}
