//! The mount that a supervisor keeps between two children: its connection, its lock and its anchors.

use super::event::Event;
use super::waiting::{Woken, wait};
use crate::lifecycle::connection::Connection;
use crate::mount::{Anchors, Lock, MAX_DEPTH};
use std::path::Path;
use std::sync::mpsc::Receiver;
use std::time::Duration;

/// How often to look whether there are few enough mounts again.
const DEPTH_INTERVAL: Duration = Duration::from_secs(10);

/// The mount in one directory of anchors.
pub(super) struct KeptMount<'d> {
    directory: &'d Path,
    /// Whether there were no anchors before.
    are_anchors_new: bool,
    /// `None` until a connection has been taken over.
    lock: Option<Lock>,
    connection: Option<Connection>,
    /// Whether there ever was a connection. What is mounted is ours then.
    has_served: bool,
}

impl<'d> KeptMount<'d> {
    pub(super) fn new(directory: &'d Path, lock: Option<Lock>) -> Self {
        let are_anchors_new = lock.is_some() && Anchors::at(directory).is_none();
        let mount = Self { directory, are_anchors_new, lock, connection: None, has_served: false };
        mount.pass_lock_on();
        mount
    }

    /// The connection that is kept, if there is one.
    pub(super) const fn connection(&self) -> Option<&Connection> {
        self.connection.as_ref()
    }

    /// Whether there ever was a connection.
    pub(super) const fn has_served(&self) -> bool {
        self.has_served
    }

    /// How many requests were answered on the connection.
    pub(super) fn answered(&self) -> u64 {
        self.connection.as_ref().map_or(0, |connection| connection.in_flight().answered())
    }

    /// Whether requests were fetched and not answered.
    pub(super) fn has_unanswered(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| !connection.in_flight().begun().is_empty())
    }

    /// Whether the kernel has given the connection up, or that can't be told.
    pub(super) fn is_aborted(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| connection.is_aborted().unwrap_or(true))
    }

    /// Keeps a connection.
    pub(super) fn keep(&mut self, connection: Connection) {
        self.connection = Some(connection);
        self.has_served = true;
        if self.lock.is_none() {
            match Lock::take_after_predecessor(self.directory) {
                Ok(lock) => self.lock = Some(lock),
                Err(error) => log::warn!("cannot lock {}: {error}", self.directory.display()),
            }
            self.pass_lock_on();
        }
    }

    /// A child serves on a connection that can't be kept. It is to end, and the next one to mount anew;
    /// containers have the kernel's own files before it ends.
    pub(super) fn cannot_keep(&mut self) {
        self.has_served = true;
        self.fall_back(false);
    }

    /// A child that outlives this process is served still, so it keeps the lock.
    fn pass_lock_on(&self) {
        if let Some(Err(error)) = self.lock.as_ref().map(Lock::pass_on) {
            log::warn!("cannot pass the lock on: {error}");
        }
    }

    /// Gives the connection up after a child that said it has unmounted, and unmounts what it has left.
    pub(super) fn finish(&mut self) {
        self.connection = None;
        if Anchors::at(self.directory).is_some_and(|anchors| anchors.is_mounted() && anchors.is_lost()) {
            self.fall_back(true);
        }
    }

    /// Gives containers the kernel's own files, and whoever waits for an answer an error. What somebody else
    /// serves is not touched. If `is_the_end`, the mounts are also removed for good where nobody has bound an
    /// anchor.
    pub(super) fn fall_back(&mut self, is_the_end: bool) {
        // Dropped only once there are other files.
        let _connection = self.connection.take();
        let Some(anchors) = Anchors::at(self.directory) else { return };
        let is_ours = self.has_served || (self.lock.is_some() && anchors.is_mounted() && anchors.is_lost());
        if is_ours {
            let views = anchors.views();
            let fallen_back = anchors.fall_back();
            let is_unbound = is_the_end && fallen_back.is_ok() && !anchors.are_bound();
            let unmounted = if is_unbound { anchors.unmount_views(&views) } else { Ok(()) };
            if let Err(error) = fallen_back.and(unmounted).and(anchors.fall_back_and_abort()) {
                log::error!(
                    "cannot unmount {0}: {error}; run `cgprocfs unmount {0}`",
                    self.directory.display()
                );
            }
        }
    }

    /// Removes new anchors that nobody has bound. A daemon does so itself, but does not know that they are
    /// new if it has mounted on them anew after a loss.
    pub(super) fn tidy(&self) {
        let anchors =
            Anchors::at(self.directory).filter(|anchors| self.are_anchors_new && !anchors.is_mounted());
        let removed = anchors.filter(|anchors| !anchors.are_bound()).map(|anchors| anchors.remove());
        if let Some(Err(error)) = removed {
            log::warn!("cannot remove the anchors in {}: {error}", self.directory.display());
        }
    }

    /// Waits until there are few enough mounts to add others. So whoever makes the connection be lost again
    /// and again can't fill the mount table: containers keep the kernel's own files meanwhile.
    pub(super) fn wait_for_room(&self, events: &Receiver<Event>) -> Woken {
        let mut was_logged = false;
        loop {
            let Some(anchors) = Anchors::at(self.directory) else { return Woken::ByTime };
            let depth = anchors.depth();
            if depth < MAX_DEPTH {
                return Woken::ByTime;
            }
            if !anchors.are_bound() {
                match anchors.remove() {
                    Ok(()) => return Woken::ByTime,
                    Err(error) => log::warn!("cannot remove the anchors: {error}"),
                }
            }
            if !was_logged {
                was_logged = true;
                log::error!(
                    "{depth} mounts lie on one file in {0}, two for each connection that was lost: containers keep the \
                     kernel's own files until those that bind it have ended or `cgprocfs unmount --anchors {0}` was run. \
                     Send SIGHUP to mount anyway",
                    self.directory.display()
                );
            }
            match wait(DEPTH_INTERVAL, events) {
                Woken::ByTime => {}
                woken => return woken,
            }
        }
    }
}
