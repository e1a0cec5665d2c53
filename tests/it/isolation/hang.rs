//! An exec that hangs: a process that is in the middle of one can't be looked at in every file of its
//! `/proc/PID`.
//!
//! It closes a close-on-exec file, of a file system whose server, the tenant's, never answers that. Nothing
//! ends it, not even a signal, but the end of that server.

use super::attributes::attributes;
use super::tenant;
use crate::common::cgroup::Cgroup;
use crate::common::helper::{self, Running};
use cgprocfs::mount::{Writes, attach};
use fuser::{
    Config, Errno, FileHandle, Filesystem, Generation, INodeNo, LockOwner, ReplyAttr, ReplyEmpty, ReplyEntry,
    Request, Session, SessionACL,
};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::slice;
use std::time::Duration;
use tempfile::TempDir;

const FOR_EVER: Duration = Duration::from_secs(3600);

/// A file system with one file, `file`, that can be opened, and not be closed.
struct Hangs;

impl Filesystem for Hangs {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if name == "file" {
            reply.entry(&FOR_EVER, &attributes(INodeNo(2)), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&FOR_EVER, &attributes(ino));
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // One that is dropped answers with an error.
        std::mem::forget(reply);
        println!("held");
        std::io::stdout().flush().unwrap();
    }
}

/// The helper that serves it, in a mount namespace of its own, until its stdin ends.
pub fn serve(directory: &Path) {
    let device = attach(directory, Writes::Nothing).unwrap();
    let session = Session::from_fd(Hangs, device, SessionACL::All, Config::default()).unwrap();
    std::thread::spawn(move || session.run());
    helper::ready();
    // So the end of the test, in whatever way, is that of the hanging.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

/// The helper that execs.
pub fn exec(file: &Path) {
    // The standard library opens everything close-on-exec.
    let file = File::open(file).unwrap();
    helper::ready();
    let error = Command::new("sleep").arg("100").exec();
    drop(file);
    panic!("{error}");
}

/// Processes that hang in the middle of an exec, until this goes out of scope.
pub struct HeldExec {
    // Ended first, which frees the others.
    _server: Running,
    held: Vec<Running>,
    /// Of the first one, if it is the first process of a container.
    namespaces: Vec<&'static str>,
    _directory: TempDir,
}

impl HeldExec {
    pub fn new(cgroup: &Cgroup) -> Self {
        Self::start(slice::from_ref(cgroup), &[])
    }

    /// One in each of these cgroups.
    pub fn in_each(cgroups: &[Cgroup]) -> Self {
        Self::start(cgroups, &[])
    }

    /// One that is the first process of a container with namespaces of its own, a pid namespace among them.
    pub fn init(cgroup: &Cgroup, namespaces: &[&'static str]) -> Self {
        Self::start(slice::from_ref(cgroup), namespaces)
    }

    fn start(cgroups: &[Cgroup], namespaces: &[&'static str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_str().unwrap();
        let mut server = tenant::start_by(&cgroups[0], &["unshare", "--mount"], "hang", &[path]);
        let mount = format!("--mount=/proc/{}/ns/mnt", server.process.id());
        let options: Vec<_> = namespaces.iter().map(|name| format!("--{name}")).collect();
        let mut launcher = vec!["nsenter", &mount];
        if !namespaces.is_empty() {
            launcher.extend(["unshare", "--fork", "--kill-child"]);
            launcher.extend(options.iter().map(String::as_str));
        }
        let mut hold = |cgroup| {
            let held = tenant::start_by(cgroup, &launcher, "exec", &[&format!("{path}/file")]);
            assert_eq!(server.line(), "held");
            held
        };
        let held = cgroups.iter().map(&mut hold).collect();
        Self { _server: server, held, namespaces: namespaces.to_vec(), _directory: directory }
    }

    /// The words that a command begins with that is to run in the namespaces of [`Self::init`]'s container.
    pub fn enter(&self) -> Vec<String> {
        let option = |name: &&str| {
            let link = if *name == "pid" { "pid_for_children" } else { *name };
            format!("--{name}=/proc/{}/ns/{link}", self.held[0].process.id())
        };
        std::iter::once("nsenter".into()).chain(self.namespaces.iter().map(option)).collect()
    }
}
