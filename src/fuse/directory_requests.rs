//! Requests about names and directories.

use super::directory_handles::{Listing, Tenant};
use super::node::Node;
use super::served::Served;
use crate::error::Error;
use crate::service::{Service, Viewer};
use crate::state::in_flight::InFlightGuard;
use cgprocfs_core::parse::pid::Pid;
use cgprocfs_core::topology::Topology;
use fuser::{
    Errno, FileHandle, FopenFlags, Generation, INodeNo, ReplyAttr, ReplyData, ReplyDirectory, ReplyEntry,
    ReplyOpen,
};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Duration;

/// How long the kernel may keep look-ups and attributes: a year. None of ours ever changes, and of an entry
/// that the kernel removes, such as an unplugged processor, an open says that it is stale.
pub(super) const ATTRIBUTE_TIMEOUT: Duration = Duration::from_secs(8760 * 3600);

impl Served {
    pub(super) fn lookup(&self, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.child(parent, name) {
            Ok(node) => reply.entry(&ATTRIBUTE_TIMEOUT, &self.attributes(&node), Generation(0)),
            Err(error) => reply.error(Errno::from_i32(error.raw_os_error())),
        }
    }

    pub(super) fn getattr(&self, ino: INodeNo, reply: ReplyAttr) {
        match self.find(ino) {
            Ok(node) => reply.attr(&ATTRIBUTE_TIMEOUT, &self.attributes(&node)),
            Err(error) => reply.error(Errno::from_i32(error.raw_os_error())),
        }
    }

    pub(super) fn readlink(
        self: &Arc<Self>,
        in_flight: InFlightGuard,
        pid: Pid,
        ino: INodeNo,
        reply: ReplyData,
    ) {
        let Ok(Node::Sysfs(path, _)) = self.find(ino) else {
            return reply.error(Errno::EINVAL);
        };
        let served = Arc::clone(self);
        let needs = Topology::needs(&path);
        let target = move |service: &Service, viewer: &Viewer<'_>| {
            Ok(service.source().system_directory().target(&path, viewer.topology)?)
        };
        self.service.ask_files(in_flight, pid, needs, target, move |target| match target {
            Ok(target) => reply.data(&target),
            Err(error) => reply.error(served.errno(&error)),
        });
    }

    pub(super) fn opendir(
        self: &Arc<Self>,
        in_flight: InFlightGuard,
        pid: Pid,
        ino: INodeNo,
        reply: ReplyOpen,
    ) {
        let open = move |served: &Self, listing| match listing {
            Ok((listing, tenant)) => {
                let handle = served.directories.open(listing, tenant);
                reply.opened(handle, FopenFlags::empty());
            }
            Err(error) => reply.error(served.errno(&error)),
        };
        if !self.differs_by_reader(ino) {
            let listing = self.list(ino, None);
            return open(self, listing.map(|listing| (listing, b"/".as_slice().into())));
        }
        let served = Arc::clone(self);
        let list = self.lister(ino);
        self.service
            .ask_files(in_flight, pid, Topology::needs(b""), list, move |listing| open(&served, listing));
    }

    pub(super) fn readdir(
        self: &Arc<Self>,
        in_flight: InFlightGuard,
        pid: Pid,
        ino: INodeNo,
        (handle, offset): (FileHandle, u64),
        mut reply: ReplyDirectory,
    ) {
        let add = move |listing: &Listing| {
            let from = usize::try_from(offset).unwrap_or(usize::MAX);
            for (next, (ino, kind, name)) in (1..).zip(listing).skip(from) {
                if reply.add(*ino, next, *kind, OsStr::from_bytes(name)) {
                    break;
                }
            }
            reply
        };
        if let Some(listing) = self.directories.listing(handle) {
            return add(&listing).ok();
        }
        // A predecessor has opened it, or its listing was evicted.
        let served = Arc::clone(self);
        let list = self.lister(ino);
        self.service.ask_files(in_flight, pid, Topology::needs(b""), list, move |listing| match listing {
            Ok((listing, tenant)) => add(&served.directories.set(handle, listing, tenant)).ok(),
            Err(error) => add(&Listing::new()).error(served.errno(&error)),
        });
    }

    /// Lists a directory as a reader sees it, with the reader's cgroup.
    fn lister(
        self: &Arc<Self>,
        ino: INodeNo,
    ) -> impl Fn(&Service, &Viewer<'_>) -> Result<(Listing, Tenant), Error> + Send + Sync + 'static {
        let served = Arc::clone(self);
        move |_, viewer| Ok((served.list(ino, viewer.topology)?, viewer.cgroup.into()))
    }
}
