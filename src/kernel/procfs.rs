//! A procfs to read from.

use super::namespace_id::NamespaceId;
use super::read::{LINK, PATH_DIR, READ, read_whole};
use crate::confinement::namespace_reader::NamespaceReader;
use crate::error::Error;
use cgprocfs_core::parse::pid::Pid;
use rustix::fs::{Mode, fstat, openat, readlinkat};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// A directory that is, or looks like, `/proc`.
pub(crate) struct Procfs {
    pub(crate) dir: OwnedFd,
    /// Whether it is an instance of our own, over which nothing can be mounted.
    pub(crate) is_own: bool,
    /// The process that reads inside namespaces, if this one may not.
    pub(crate) namespace_reader: Option<NamespaceReader>,
}

impl Procfs {
    /// Opens the procfs below `root`.
    ///
    /// For the real root it is an instance of our own that is attached nowhere: somebody may have mounted our
    /// view over this process's own `/proc/meminfo`, and to read that would be to wait for ourselves. A
    /// process that may not mount uses `/proc` as it is.
    pub(crate) fn open(root: &Path) -> Result<Self, Error> {
        let path: PathBuf = root.join("proc");
        let own = (root == Path::new("/")).then(|| private_instance("proc"));
        if let Some(Ok(dir)) = own {
            return Ok(Self { dir, is_own: true, namespace_reader: None });
        }
        let dir = rustix::fs::open(&path, PATH_DIR, Mode::empty())
            .map_err(|e| Error::unreadable(path.display().to_string(), e))?;
        Ok(Self { dir, is_own: false, namespace_reader: None })
    }

    /// Opens `/proc/PID/FILE`.
    pub(crate) fn open_of(&self, pid: Pid, file: &str) -> Result<OwnedFd, Error> {
        with_pid_path(pid, file, |path| openat(&self.dir, path, READ, Mode::empty()))
            .map_err(|e| process_error(pid, file, e.into()))
    }

    /// Opens the link `/proc/PID/FILE` itself, not what it leads to.
    pub(crate) fn open_link_of(&self, pid: Pid, file: &str) -> Result<OwnedFd, Error> {
        with_pid_path(pid, file, |path| openat(&self.dir, path, LINK, Mode::empty()))
            .map_err(|e| process_error(pid, file, e.into()))
    }

    /// Opens a namespace file of a process; `None` if the namespace is not `id` any more.
    pub(crate) fn open_verified(
        &self,
        pid: Pid,
        file: &str,
        id: NamespaceId,
    ) -> Result<Option<OwnedFd>, Error> {
        let opened = self.open_of(pid, file)?;
        let number = fstat(&opened).map_err(|e| process_error(pid, file, e.into()))?.st_ino;
        Ok((NamespaceId::new(number) == id).then_some(opened))
    }

    /// Reads `/proc/PID/FILE` into `buffer`.
    pub(crate) fn read_of(&self, pid: Pid, file: &str, buffer: &mut Vec<u8>) -> Result<(), Error> {
        read_whole(&self.open_of(pid, file)?, buffer).map_err(|e| process_error(pid, file, e))
    }

    /// Reads all of `/proc/FILE`, of any length: the kernel hands out a table page by page.
    pub(crate) fn read(&self, file: &str) -> Result<Vec<u8>, Error> {
        let unreadable = |e: io::Error| Error::unreadable(format!("/proc/{file}"), e);
        let opened = openat(&self.dir, file, READ, Mode::empty()).map_err(|e| unreadable(e.into()))?;
        let mut text = Vec::new();
        File::from(opened).read_to_end(&mut text).map_err(unreadable)?;
        Ok(text)
    }

    /// A namespace of this process; `None` if the kernel has no namespaces of that kind.
    pub(crate) fn own_namespace_id(&self, file: &str) -> Option<NamespaceId> {
        NamespaceId::of_link(&self.link(&format!("self/{file}")).ok()?)
    }

    /// Where a symbolic link leads.
    pub(crate) fn link(&self, path: &str) -> rustix::io::Result<Vec<u8>> {
        match readlinkat(&self.dir, path, Vec::new()) {
            Ok(target) => Ok(target.into_bytes()),
            Err(Errno::INVAL) => self.text_of_link(path),
            Err(e) => Err(e),
        }
    }

    /// Reads a link that became a file, as in a tree that was in an archive, a repository or on a file system
    /// without links. In procfs there are none.
    fn text_of_link(&self, path: impl rustix::path::Arg) -> rustix::io::Result<Vec<u8>> {
        let mut text = [0u8; 64];
        let length = rustix::io::read(openat(&self.dir, path, READ, Mode::empty())?, &mut text)?;
        Ok(text[..length].trim_ascii_end().to_vec())
    }

    /// A namespace of a process.
    pub(crate) fn namespace_id(&self, pid: Pid, file: &str) -> Result<NamespaceId, Error> {
        let mut target = [0u8; 64];
        let id = with_pid_path(pid, file, |path| {
            match rustix::fs::readlinkat_raw(&self.dir, path, &mut target[..]) {
                Ok(length) => Ok(NamespaceId::of_link(&target[..length])),
                Err(Errno::INVAL) => Ok(NamespaceId::of_link(&self.text_of_link(path)?)),
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

/// Makes an instance of a file system of the kernel that is attached nowhere.
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

/// Formats `PID/FILE` without allocating, because every request comes through here.
fn with_pid_path<T>(
    pid: Pid,
    file: &str,
    f: impl FnOnce(&CStr) -> rustix::io::Result<T>,
) -> rustix::io::Result<T> {
    let mut buffer = [0u8; 48];
    let mut rest = &mut buffer[..];
    write!(rest, "{pid}/{file}\0").map_err(|_| rustix::io::Errno::NAMETOOLONG)?;
    f(CStr::from_bytes_until_nul(&buffer).map_err(|_| rustix::io::Errno::NAMETOOLONG)?)
}

/// The error for a file of a process, which may be gone, or have exited while it was read.
pub(crate) fn process_error(pid: Pid, file: &str, error: io::Error) -> Error {
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ESRCH) => Error::ProcessGone(pid),
        _ => Error::unreadable(format!("/proc/{pid}/{file}"), error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespace_links() {
        assert_eq!(NamespaceId::of_link(b"cgroup:[4026531835]"), Some(NamespaceId::new(4_026_531_835)));
        assert_eq!(NamespaceId::of_link(b"cgroup:4026531835"), None);
        assert_eq!(NamespaceId::of_link(b"pid:[]"), None);
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
        assert_eq!(procfs.namespace_id(Pid::new(7), "ns/pid").unwrap(), NamespaceId::new(4_026_531_836));
        assert_eq!(procfs.own_namespace_id("ns/cgroup"), Some(NamespaceId::new(4_026_531_835)));
        assert_eq!(procfs.own_namespace_id("ns/time"), None);
        assert!(matches!(procfs.namespace_id(Pid::new(7), "ns/time"), Err(Error::Malformed { .. })));
        assert!(matches!(procfs.namespace_id(Pid::new(7), "ns/uts"), Err(Error::ProcessGone(_))));
    }

    #[test]
    fn processes_that_do_not_exist_are_gone() {
        let procfs = Procfs::open(Path::new("/")).unwrap();
        let nobody = 4_194_305; // above PID_MAX_LIMIT
        assert!(matches!(procfs.namespace_id(Pid::new(nobody), "ns/pid"), Err(Error::ProcessGone(_))));
        assert!(matches!(
            procfs.read_of(Pid::new(nobody), "cgroup", &mut Vec::new()),
            Err(Error::ProcessGone(_))
        ));
    }
}
