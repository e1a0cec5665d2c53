//! The tasks of a container: how many there are, and in which state.

use super::layout::Hierarchy;
use super::levels::relative;
use super::procfs::{PATH_DIR, Procfs, READ};
use crate::error::{Error, printable};
use crate::load::Tasks;
use crate::parse::memory_stat::Version;
use crate::parse::{decimal, proc_stat};
use rustix::fs::{Dir, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;

/// Looks at each task of the cgroup of that number at `path`, and of those below it; nobody else's.
pub(super) fn tasks(
    hierarchy: &Hierarchy,
    procfs: &Procfs,
    number: u64,
    path: &[u8],
) -> Result<Tasks, Error> {
    let gone = || Error::CgroupGone(printable(path));
    let unreadable = |e: Errno| match e {
        Errno::NOENT | Errno::NODEV => gone(),
        e => Error::unreadable(printable(path), e),
    };
    let directory = openat(&hierarchy.dir, relative(path), PATH_DIR, Mode::empty()).map_err(unreadable)?;
    if fstat(&directory).map_err(unreadable)?.st_ino != number {
        return Err(gone());
    }
    let file = match hierarchy.version {
        Version::V1 => "tasks",
        Version::V2 => "cgroup.threads",
    };
    let mut sum = Tasks::default();
    let mut open = vec![directory];
    while let Some(directory) = open.pop() {
        add(&directory, file, procfs, &mut sum).map_err(unreadable)?;
        children(&directory, &mut open).map_err(unreadable)?;
    }
    Ok(sum)
}

fn add(directory: &OwnedFd, file: &str, procfs: &Procfs, sum: &mut Tasks) -> rustix::io::Result<()> {
    let mut text = Vec::new();
    match openat(directory, file, READ, Mode::empty())
        .map(File::from)
        .map(|mut file| file.read_to_end(&mut text))
    {
        Ok(Ok(_)) => {}
        // It goes while we look.
        Err(Errno::NOENT | Errno::NODEV) | Ok(Err(_)) => return Ok(()),
        Err(error) => return Err(error),
    }
    let ids = text.split(|&b| b == b'\n').filter_map(|line| decimal(line).ok()).filter(|&id| id != 0);
    let mut stat = [0; 512];
    for id in ids {
        sum.total += 1;
        // Of the thread alone: what the process has is summed up over all of its threads.
        let path = format!("{id}/task/{id}/stat");
        let read =
            openat(&procfs.dir, path, READ, Mode::empty()).and_then(|file| rustix::io::read(file, &mut stat));
        match read.ok().and_then(|length| proc_stat::state(&stat[..length])) {
            Some(b'R') => sum.running += 1,
            Some(b'D') => sum.uninterruptible += 1,
            _ => {}
        }
    }
    Ok(())
}

fn children(directory: &OwnedFd, open: &mut Vec<OwnedFd>) -> rustix::io::Result<()> {
    let listed = match openat(directory, ".", READ | OFlags::DIRECTORY, Mode::empty()) {
        Err(Errno::NOENT | Errno::NODEV) => return Ok(()),
        listed => listed?,
    };
    for entry in Dir::new(listed)? {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type() == FileType::Directory && name != c"." && name != c".." {
            match openat(directory, name, PATH_DIR, Mode::empty()) {
                Err(Errno::NOENT) => {}
                opened => open.push(opened?),
            }
        }
    }
    Ok(())
}
