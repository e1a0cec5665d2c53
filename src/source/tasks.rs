//! The tasks of a container: how many there are, and in which state.

use super::layout::Hierarchy;
use super::levels::relative;
use super::procfs::{PATH_DIR, Procfs, READ};
use crate::error::{Error, printable};
use crate::load::Tasks;
use crate::parse::CgroupVersion;
use crate::parse::{decimal, proc_status};
use rustix::buffer::spare_capacity;
use rustix::fs::{Dir, FileType, Mode, OFlags, Stat, fstat, openat};
use rustix::io::Errno;
use std::os::fd::OwnedFd;

/// Looks at the tasks of the cgroup of that number at `path`, and of those below it; nobody else's. Of more than
/// `most_looks` some stand for all.
pub(super) fn tasks(
    hierarchy: &Hierarchy,
    procfs: &Procfs,
    number: u64,
    path: &[u8],
    most_looks: u32,
) -> Result<Tasks, Error> {
    let gone = || Error::CgroupGone(printable(path));
    let unreadable = |e: Errno| match e {
        Errno::NOENT | Errno::NODEV => gone(),
        e => Error::unreadable(printable(path), e),
    };
    let directory = openat(&hierarchy.dir, relative(path), PATH_DIR, Mode::empty()).map_err(unreadable)?;
    let status = fstat(&directory).map_err(unreadable)?;
    if status.st_ino != number {
        return Err(gone());
    }
    let file = match hierarchy.version {
        CgroupVersion::V1 => "tasks",
        CgroupVersion::V2 => "cgroup.threads",
    };
    let mut walk = Walk { file, procfs, left: most_looks, sum: Tasks::default() };
    walk.level(&directory, has_children(&status), 0).map_err(unreadable)?;
    Ok(walk.sum)
}

/// No deeper is looked: each level takes a descriptor or two.
const MOST_LEVELS: usize = 16;

/// By the directory's own count, which is two and one for each (`kernfs_refresh_inode()`, fs/kernfs/inode.c); most
/// containers have none, and are spared a listing.
fn has_children(directory: &Stat) -> bool {
    directory.st_nlink != 2
}

/// A walk through a container's cgroups.
struct Walk<'p> {
    /// The file that lists tasks.
    file: &'static str,
    procfs: &'p Procfs,
    left: u32,
    sum: Tasks,
}

impl Walk<'_> {
    fn level(
        &mut self,
        directory: &OwnedFd,
        may_have_children: bool,
        depth: usize,
    ) -> rustix::io::Result<()> {
        self.tasks_of(directory)?;
        if depth == MOST_LEVELS || !may_have_children {
            return Ok(());
        }
        let listed = match openat(directory, ".", READ | OFlags::DIRECTORY, Mode::empty()) {
            // It goes while we look.
            Err(Errno::NOENT | Errno::NODEV) => return Ok(()),
            listed => listed?,
        };
        for entry in Dir::new(listed)? {
            let entry = entry?;
            let name = entry.file_name();
            if entry.file_type() != FileType::Directory || name == c"." || name == c".." {
                continue;
            }
            if !self.may_look() {
                break;
            }
            match openat(directory, name, PATH_DIR, Mode::empty()) {
                Err(Errno::NOENT) => {}
                opened => {
                    let child = opened?;
                    let status = fstat(&child)?;
                    self.level(&child, has_children(&status), depth + 1)?;
                }
            }
        }
        Ok(())
    }

    fn may_look(&mut self) -> bool {
        self.left = self.left.saturating_sub(1);
        self.left > 0
    }

    fn tasks_of(&mut self, directory: &OwnedFd) -> rustix::io::Result<()> {
        let file = match openat(directory, self.file, READ, Mode::empty()) {
            Err(Errno::NOENT | Errno::NODEV) => return Ok(()),
            file => file?,
        };
        let Ok(text) = read_whole(&file) else { return Ok(()) };
        let ids = text.split(|&b| b == b'\n').filter_map(|line| decimal(line).ok()).filter(|&id| id != 0);
        let ids: Vec<u64> = ids.collect();
        self.sum.total = self.sum.total.saturating_add(u32::try_from(ids.len()).unwrap_or(u32::MAX));
        // Of too many every so-manieth stands for as many.
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let stride = ids.len().div_ceil(left.max(1)).max(1);
        let weight = u32::try_from(stride).unwrap_or(u32::MAX);
        let mut status = [0; 512];
        for id in ids.into_iter().step_by(stride) {
            if self.left == 0 {
                break;
            }
            self.left -= 1;
            // Not `stat`: that waits for who is in the middle of an exec, which may take as long as a tenant likes
            // (`do_task_stat()`, fs/proc/array.c).
            let file = openat(&self.procfs.dir, format!("{id}/status"), READ, Mode::empty());
            let read = file.and_then(|file| rustix::io::read(file, &mut status));
            match read.ok().and_then(|length| proc_status::state(&status[..length])) {
                Some(b'R') => self.sum.running = self.sum.running.saturating_add(weight),
                Some(b'D') => self.sum.uninterruptible = self.sum.uninterruptible.saturating_add(weight),
                _ => {}
            }
        }
        Ok(())
    }
}

/// All there is to read. Without the two calls by which the standard library asks first how much that is: kernfs
/// doesn't know.
fn read_whole(file: &OwnedFd) -> rustix::io::Result<Vec<u8>> {
    let mut text = Vec::with_capacity(4096);
    while rustix::io::read(file, spare_capacity(&mut text))? > 0 {
        if text.capacity() - text.len() < 1024 {
            text.reserve(text.capacity());
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn of_many_tasks_some_stand_for_all() {
        let dir = tempfile::tempdir().unwrap();
        let (cgroup, processes) = (dir.path().join("cgroup"), dir.path().join("proc"));
        fs::create_dir(&cgroup).unwrap();
        let mut ids = String::new();
        for id in 1..=400 {
            let task = processes.join(id.to_string());
            fs::create_dir_all(&task).unwrap();
            // The last hundred run.
            let state = if id > 300 { "R (running)" } else { "S (sleeping)" };
            fs::write(task.join("status"), format!("Name:\ttask\nState:\t{state}\n")).unwrap();
            ids += &format!("{id}\n");
        }
        fs::write(cgroup.join("tasks"), ids).unwrap();
        let procfs = Procfs::open(dir.path()).unwrap();
        let directory = rustix::fs::open(&cgroup, PATH_DIR, Mode::empty()).unwrap();
        for (most, looks) in [(1000, 400), (100, 100), (90, 80)] {
            let sum = Tasks::default();
            let mut walk = Walk { file: "tasks", procfs: &procfs, left: most, sum };
            walk.tasks_of(&directory).unwrap();
            assert_eq!((walk.sum.running, walk.sum.total), (100, 400 + sum.total), "{most}");
            assert_eq!(most - walk.left, looks);
        }
    }
}
