//! A procfs to read from, and how kernel files are read.

use crate::confinement::namespace_reader::NamespaceReader;
use crate::error::Error;
use rustix::buffer::spare_capacity;
use rustix::fs::{Mode, OFlags, openat, readlinkat};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use std::cell::Cell;
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Read-only, never inherited by a program that is started.
pub(crate) const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC);
/// A directory that is only a starting point for look-ups.
pub(crate) const PATH_DIR: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// A directory that is, or looks like, `/proc`.
pub(crate) struct Procfs {
    pub(crate) dir: OwnedFd,
    /// Whether it is an instance of our own, over which nothing is laid.
    pub(crate) is_own: bool,
    /// Who looks into namespaces, where this process may not.
    pub(crate) namespace_reader: Option<NamespaceReader>,
}

impl Procfs {
    /// Opens the procfs below `root`.
    ///
    /// Of the real root, an instance of our own is made, attached nowhere: somebody may lay our view over
    /// this process's own `/proc/meminfo`, and reading that would be waiting for ourselves. Who may not
    /// mount gets `/proc` as it is.
    pub(crate) fn open(root: &Path) -> Result<Self, Error> {
        let path: PathBuf = root.join("proc");
        if root == Path::new("/")
            && let Ok(dir) = private_instance("proc")
        {
            return Ok(Self { dir, is_own: true, namespace_reader: None });
        }
        let dir = rustix::fs::open(&path, PATH_DIR, Mode::empty())
            .map_err(|e| Error::unreadable(path.display().to_string(), e))?;
        Ok(Self { dir, is_own: false, namespace_reader: None })
    }

    /// Opens `/proc/PID/FILE`.
    pub(crate) fn open_of(&self, pid: u32, file: &str) -> Result<OwnedFd, Error> {
        with_pid_path(pid, file, |path| openat(&self.dir, path, READ, Mode::empty()))
            .map_err(|e| process_error(pid, file, e.into()))
    }

    /// Reads `/proc/PID/FILE` into `buffer`.
    pub(crate) fn read_of(&self, pid: u32, file: &str, buffer: &mut Vec<u8>) -> Result<(), Error> {
        read_whole(&self.open_of(pid, file)?, buffer).map_err(|e| process_error(pid, file, e))
    }

    /// Reads all of `/proc/FILE`, of any length: the kernel gives out a table page by page.
    pub(crate) fn read(&self, file: &str) -> Result<Vec<u8>, Error> {
        let unreadable = |e: io::Error| Error::unreadable(format!("/proc/{file}"), e);
        let opened = openat(&self.dir, file, READ, Mode::empty()).map_err(|e| unreadable(e.into()))?;
        let mut text = Vec::new();
        File::from(opened).read_to_end(&mut text).map_err(unreadable)?;
        Ok(text)
    }

    /// The number of a namespace of this process; `None` if the kernel has no such namespaces.
    pub(crate) fn own_namespace_id(&self, file: &str) -> Option<u64> {
        number_in_brackets(&self.link(&format!("self/{file}")).ok()?)
    }

    /// Where a symbolic link leads.
    pub(crate) fn link(&self, path: &str) -> rustix::io::Result<Vec<u8>> {
        match readlinkat(&self.dir, path, Vec::new()) {
            Ok(target) => Ok(target.into_bytes()),
            Err(Errno::INVAL) => self.text_of_link(path),
            Err(e) => Err(e),
        }
    }

    /// In a tree that was in an archive, a repository or on a file system without links they are files. In procfs they are not.
    fn text_of_link(&self, path: impl rustix::path::Arg) -> rustix::io::Result<Vec<u8>> {
        let mut text = [0u8; 64];
        let length = rustix::io::read(openat(&self.dir, path, READ, Mode::empty())?, &mut text)?;
        Ok(text[..length].trim_ascii_end().to_vec())
    }

    /// The number of a namespace of a process, as in `ls -l /proc/PID/ns`. The kernel gives a number
    /// to another namespace as soon as nobody holds the first one any more.
    pub(crate) fn namespace_id(&self, pid: u32, file: &str) -> Result<u64, Error> {
        let mut target = [0u8; 64];
        let id = with_pid_path(pid, file, |path| {
            match rustix::fs::readlinkat_raw(&self.dir, path, &mut target[..]) {
                Ok(length) => Ok(number_in_brackets(&target[..length])),
                Err(Errno::INVAL) => Ok(number_in_brackets(&self.text_of_link(path)?)),
                Err(e) => Err(e),
            }
        });
        match id {
            Ok(Some(id)) => Ok(id),
            Ok(None) => Err(Error::malformed(
                format!("/proc/{pid}/{file}"),
                cgprocfs_core::parse::ParseError::MalformedLine,
            )),
            Err(e) => Err(process_error(pid, file, e.into())),
        }
    }
}

/// An instance of a file system of the kernel, attached nowhere.
pub(crate) fn private_instance(fs_type: &str) -> rustix::io::Result<OwnedFd> {
    let context = fsopen(fs_type, FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::MOUNT_ATTR_RDONLY
            | MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC,
    )
}

/// `cgroup:[4026531835]` is 4026531835.
fn number_in_brackets(target: &[u8]) -> Option<u64> {
    let open = target.iter().position(|&b| b == b'[')?;
    let digits = target[open + 1..].strip_suffix(b"]")?;
    cgprocfs_core::parse::decimal(digits).ok()
}

/// Formats `PID/FILE` without touching the heap: every request comes through here.
fn with_pid_path<T>(
    pid: u32,
    file: &str,
    f: impl FnOnce(&CStr) -> rustix::io::Result<T>,
) -> rustix::io::Result<T> {
    let mut buffer = [0u8; 48];
    let mut rest = &mut buffer[..];
    write!(rest, "{pid}/{file}\0").map_err(|_| rustix::io::Errno::NAMETOOLONG)?;
    f(CStr::from_bytes_until_nul(&buffer).map_err(|_| rustix::io::Errno::NAMETOOLONG)?)
}

/// What procfs answers for a process that is gone, or goes while it is read.
pub(crate) fn process_error(pid: u32, file: &str, error: io::Error) -> Error {
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ESRCH) => Error::ProcessGone(pid),
        _ => Error::unreadable(format!("/proc/{pid}/{file}"), error),
    }
}

/// Lends a buffer that the thread keeps: what is allocated and freed at each answer, the allocator would give back to
/// the kernel each time.
pub(crate) fn with_buffer<T>(use_it: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    thread_local! {
        static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    }
    let mut buffer = BUFFER.take();
    let result = use_it(&mut buffer);
    BUFFER.set(buffer);
    result
}

/// Reads a kernel file that is one record (`single_open()`, `seq_show` of a cgroup file) with one system
/// call at offset 0, so that the text is of one moment: the kernel makes it anew for each offset.
pub(crate) fn read_whole(file: impl AsFd, buffer: &mut Vec<u8>) -> io::Result<()> {
    /// No file that is read here comes near it; /proc/PID/cgroup with the longest names is the largest.
    const ENOUGH: usize = 64 << 10;
    buffer.clear();
    buffer.reserve(ENOUGH);
    loop {
        let capacity = buffer.capacity();
        let length = rustix::io::pread(&file, spare_capacity(buffer), 0)?;
        if length < capacity {
            return Ok(());
        }
        buffer.clear();
        buffer.reserve(capacity * 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespace_links() {
        assert_eq!(number_in_brackets(b"cgroup:[4026531835]"), Some(4_026_531_835));
        assert_eq!(number_in_brackets(b"cgroup:4026531835"), None);
        assert_eq!(number_in_brackets(b"pid:[]"), None);
    }

    #[test]
    fn links_that_became_files() {
        let tree = tempfile::tempdir().unwrap();
        for who in ["self", "7"] {
            let ns = tree.path().join(format!("proc/{who}/ns"));
            std::fs::create_dir_all(&ns).unwrap();
            std::fs::write(ns.join("pid"), "pid:[4026531836]").unwrap();
            std::fs::write(ns.join("cgroup"), "cgroup:[4026531835]\n").unwrap();
            std::fs::write(ns.join("time"), "odd").unwrap();
        }
        let procfs = Procfs::open(tree.path()).unwrap();
        assert_eq!(procfs.namespace_id(7, "ns/pid").unwrap(), 4_026_531_836);
        assert_eq!(procfs.own_namespace_id("ns/cgroup"), Some(4_026_531_835));
        assert_eq!(procfs.own_namespace_id("ns/time"), None);
        assert!(matches!(procfs.namespace_id(7, "ns/time"), Err(Error::Malformed { .. })));
        assert!(matches!(procfs.namespace_id(7, "ns/uts"), Err(Error::ProcessGone(7))));
    }

    #[test]
    fn a_file_larger_than_the_buffer_is_read_whole() {
        let mut file = tempfile::tempfile().unwrap();
        let text = vec![b'x'; 300_000];
        file.write_all(&text).unwrap();
        let mut buffer = Vec::new();
        read_whole(&file, &mut buffer).unwrap();
        assert_eq!(buffer, text);
    }

    #[test]
    fn processes_that_do_not_exist_are_gone() {
        let procfs = Procfs::open(Path::new("/")).unwrap();
        let nobody = 4_194_305; // above PID_MAX_LIMIT
        assert!(matches!(procfs.namespace_id(nobody, "ns/pid"), Err(Error::ProcessGone(_))));
        assert!(matches!(procfs.read_of(nobody, "cgroup", &mut Vec::new()), Err(Error::ProcessGone(_))));
    }
}
