//! A process that keeps the right to mount, so that the one that serves need not have it.
//!
//! It does seven things when it is asked to, all to the one directory that it was started for. If the one
//! that serves is gone and nobody has kept its connection, it gives containers the kernel's own files.

use super::handover::socket_path;
use crate::confinement::sandbox;
use crate::mount::{AnchorUse, Anchors, Lock, lock_path, unmount};
use cgprocfs_core::view::ViewId;
use nix::sys::signal::SigSet;
use rustix::io::Errno;
use rustix::thread::CapabilitySet;
use std::io::{self, Read, Write, stdin};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

/// The hidden command by which it is started.
pub const COMMAND: &str = "mount-for-stdin";

/// How long it may take for each of them.
const TASK_TIMEOUT: Duration = Duration::from_secs(10);

/// What it can be asked to do.
#[derive(Clone, Copy)]
#[repr(u8)]
pub enum Task {
    /// [`Anchors::stack`]
    Stack = b'S',
    /// [`Anchors::withdraw`]
    Withdraw = b'G',
    /// [`Anchors::fall_back_and_abort`]
    FallBackAndAbort = b'L',
    /// [`Anchors::abort`], or to unmount what was mounted without anchors.
    Abort = b'A',
    /// [`Anchors::remove`]
    Remove = b'R',
    /// To remove the socket by which another daemon could take over.
    RemoveSocket = b'U',
    /// To remove the file by which others are kept out.
    RemoveLock = b'K',
}

/// The process that mounts for this one.
pub enum Steward {
    /// None: the service manager has the mounts made.
    Nobody,
    /// A process of its own, which ends after this one.
    Process(UnixStream, Child),
}

impl Steward {
    /// Starts a process that mounts `views` on the anchors in `directory`, and returns when it is ready.
    ///
    /// # Errors
    /// Where no process can be made.
    pub fn start(directory: &Path, views: &[ViewId]) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let process = Command::new("/proc/self/exe")
            .arg(COMMAND)
            .arg(directory)
            .args(views.iter().map(|view| view.path()))
            .stdin(OwnedFd::from(theirs))
            // A terminal's keys must not end this process.
            .process_group(0)
            .spawn()?;
        ours.set_read_timeout(Some(TASK_TIMEOUT))?;
        ours.set_write_timeout(Some(TASK_TIMEOUT))?;
        answer(&ours)?;
        Ok(Self::Process(ours, process))
    }

    /// Has something done.
    ///
    /// # Errors
    /// The error that the kernel returns.
    pub fn have_done(&self, task: Task) -> io::Result<()> {
        self.ask(task).map(drop)
    }

    /// Has [`Anchors::withdraw`] done.
    ///
    /// # Errors
    /// The error that the kernel returns.
    pub fn withdraw(&self) -> io::Result<AnchorUse> {
        let answer = self.ask(Task::Withdraw)?;
        Ok(if answer == UNBOUND { AnchorUse::Unbound } else { AnchorUse::Bound })
    }

    fn ask(&self, task: Task) -> io::Result<i32> {
        match self {
            Self::Nobody => Err(io::ErrorKind::PermissionDenied.into()),
            Self::Process(socket, _) => {
                let mut to = socket;
                to.write_all(&[task as u8])?;
                answer(socket)
            }
        }
    }
}

/// The answer to [`Task::Withdraw`] if nobody has bound an anchor. Errors are greater than 0, and 0 is none.
const UNBOUND: i32 = -1;

fn answer(mut socket: &UnixStream) -> io::Result<i32> {
    let mut answer = [0; 4];
    socket.read_exact(&mut answer)?;
    match i32::from_ne_bytes(answer) {
        errno @ 1.. => Err(io::Error::from_raw_os_error(errno)),
        done => Ok(done),
    }
}

/// The whole life of such a process: does what it is asked to until the other side of stdin is gone.
///
/// # Errors
/// Where it can't begin, or nobody hears an answer.
pub fn serve_stdin(directory: &Path, views: &[ViewId]) -> io::Result<()> {
    // A service manager sends signals to all processes of a unit, and the server may still have to ask.
    SigSet::all().thread_block()?;
    // Among them may be the supervisor's lock, which is to be free once that and the server are gone.
    crate::sys::close_inherited();
    sandbox::keep_only(CapabilitySet::SYS_ADMIN).map_err(io::Error::other)?;
    let mut socket = UnixStream::from(stdin().as_fd().try_clone_to_owned()?);
    socket.write_all(&0_i32.to_ne_bytes())?;
    let mut tag = [0];
    while socket.read(&mut tag)? == 1 {
        let done = do_task(tag[0], directory, views);
        let answer = done.unwrap_or_else(|error| error.raw_os_error().unwrap_or(Errno::IO.raw_os_error()));
        socket.write_all(&answer.to_ne_bytes())?;
    }
    after_the_server(directory)
}

/// The server has ended. If it was killed, and whoever kept its connection as well, containers would be left
/// with ENOTCONN.
fn after_the_server(directory: &Path) -> io::Result<()> {
    let Some(anchors) = Anchors::at(directory) else { return Ok(()) };
    // Where nothing is mounted no path is looked up, which would keep busy what somebody unmounts just now.
    if !anchors.is_mounted() || !anchors.is_lost() {
        return Ok(());
    }
    // A daemon that was started meanwhile has the lock, and mounts anew.
    let Ok(_lock) = Lock::take_after_predecessor(directory) else { return Ok(()) };
    if anchors.is_lost() {
        log::error!(
            "the server of {} was killed, and nobody has kept its connection: containers have the kernel's files until the next start",
            directory.display()
        );
        anchors.fall_back_and_abort()?;
    }
    Ok(())
}

fn do_task(tag: u8, directory: &Path, views: &[ViewId]) -> io::Result<i32> {
    let is = |task: Task| tag == task as u8;
    if is(Task::RemoveSocket) {
        return std::fs::remove_file(socket_path(directory)).map(|()| 0);
    }
    if is(Task::RemoveLock) {
        return std::fs::remove_file(lock_path(directory)).map(|()| 0);
    }
    let Some(anchors) = Anchors::at(directory) else {
        let done = if is(Task::Abort) { unmount(directory) } else { Err(io::ErrorKind::InvalidInput.into()) };
        return done.map(|()| 0);
    };
    if is(Task::Withdraw) {
        return anchors.withdraw().map(|used| if used == AnchorUse::Unbound { UNBOUND } else { 0 });
    }
    let done = match tag {
        _ if is(Task::Stack) => anchors.stack(views),
        _ if is(Task::FallBackAndAbort) => anchors.fall_back_and_abort(),
        _ if is(Task::Abort) => anchors.abort(),
        _ if is(Task::Remove) => anchors.remove(),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    };
    done.map(|()| 0)
}
