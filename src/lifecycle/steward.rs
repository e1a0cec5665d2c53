//! A process that keeps the right to mount, so that the one that serves need not have it.
//!
//! It can do seven things, all to the one directory that it was started for, and does each when it is asked to.

use super::handover::socket_path;
use crate::confinement::sandbox;
use crate::mount::{Anchors, Way, lock_path, unmount};
use cgprocfs_core::view::ViewId;
use nix::sys::signal::SigSet;
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

/// How long it may take for what it is asked.
const PATIENCE: Duration = Duration::from_secs(10);

/// Operation can be asked for.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Task {
    Stack = b'S',
    GiveWay = b'G',
    LetGo = b'L',
    Abort = b'A',
    Remove = b'R',
    ForgetSocket = b'U',
    ForgetLock = b'K',
}

/// Who mounts.
pub enum Steward {
    /// This process itself, which serves nobody.
    Itself,
    /// Nobody here: the service manager has it done.
    Nobody,
    /// A process, which ends with this one.
    Process(UnixStream, Child),
}

impl Steward {
    /// Starts a process that mounts in `directory`, of anchors, and lays `views` there, and returns when it is ready.
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
            // Operation a terminal's keys end is not this process.
            .process_group(0)
            .spawn()?;
        ours.set_read_timeout(Some(PATIENCE))?;
        ours.set_write_timeout(Some(PATIENCE))?;
        answer(&ours)?;
        Ok(Self::Process(ours, process))
    }

    /// [`Anchors::stack`].
    ///
    /// # Errors
    /// The kernel's.
    pub fn stack(&self, anchors: &Anchors, views: &[ViewId]) -> io::Result<()> {
        self.have_done(Task::Stack, || anchors.stack(views))
    }

    /// [`Anchors::give_way`].
    ///
    /// # Errors
    /// The kernel's.
    pub fn give_way(&self, anchors: &Anchors) -> io::Result<Way> {
        match self {
            Self::Process(socket, _) => {
                let mut to = socket;
                to.write_all(&[Task::GiveWay as u8])?;
                Ok(if answer(socket)? == FREE { Way::Free } else { Way::Bound })
            }
            Self::Itself => anchors.give_way(),
            Self::Nobody => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }

    /// [`Anchors::let_go`].
    ///
    /// # Errors
    /// The kernel's.
    pub fn let_go(&self, anchors: &Anchors) -> io::Result<()> {
        self.have_done(Task::LetGo, || anchors.let_go())
    }

    /// [`Anchors::remove`].
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove(&self, anchors: &Anchors) -> io::Result<()> {
        self.have_done(Task::Remove, || anchors.remove())
    }

    /// [`Anchors::abort`].
    ///
    /// # Errors
    /// The kernel's.
    pub fn abort(&self, anchors: &Anchors) -> io::Result<()> {
        self.have_done(Task::Abort, || anchors.abort())
    }

    /// Unmounts what is mounted there without anchors.
    ///
    /// # Errors
    /// The kernel's.
    pub fn unmount(&self, mount_point: &Path) -> io::Result<()> {
        self.have_done(Task::Abort, || unmount(mount_point))
    }

    /// Removes the socket by which another daemon could take over.
    ///
    /// # Errors
    /// The kernel's.
    pub fn forget_socket(&self, directory: &Path) -> io::Result<()> {
        self.have_done(Task::ForgetSocket, || std::fs::remove_file(socket_path(directory)))
    }

    /// Removes the file by which others are kept out.
    ///
    /// # Errors
    /// The kernel's.
    pub fn forget_lock(&self, directory: &Path) -> io::Result<()> {
        self.have_done(Task::ForgetLock, || std::fs::remove_file(lock_path(directory)))
    }

    fn have_done(&self, task: Task, itself: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        match self {
            Self::Itself => itself(),
            Self::Nobody => Err(io::ErrorKind::PermissionDenied.into()),
            Self::Process(socket, _) => {
                let mut to = socket;
                to.write_all(&[task as u8])?;
                answer(socket).map(drop)
            }
        }
    }
}

/// Operation is answered to [`Task::GiveWay`] where nobody has bound an anchor. Errors are greater than 0, and 0 is none.
const FREE: i32 = -1;

fn answer(mut socket: &UnixStream) -> io::Result<i32> {
    let mut answer = [0; 4];
    socket.read_exact(&mut answer)?;
    match i32::from_ne_bytes(answer) {
        errno @ 1.. => Err(io::Error::from_raw_os_error(errno)),
        done => Ok(done),
    }
}

/// Its whole life: does what it is asked to until the other side of stdin is gone.
///
/// # Errors
/// Where it can't begin, or nobody hears an answer.
pub fn serve_stdin(directory: &Path, views: &[ViewId]) -> io::Result<()> {
    // A service manager sends them to all processes of a unit, and the server may still have to ask.
    SigSet::all().thread_block()?;
    sandbox::keep_only(CapabilitySet::SYS_ADMIN).map_err(io::Error::other)?;
    let mut socket = UnixStream::from(stdin().as_fd().try_clone_to_owned()?);
    socket.write_all(&0_i32.to_ne_bytes())?;
    let mut letter = [0];
    while socket.read(&mut letter)? == 1 {
        let done = do_task(letter[0], directory, views);
        let answer = done.unwrap_or_else(|error| error.raw_os_error().unwrap_or(libc::EIO));
        socket.write_all(&answer.to_ne_bytes())?;
    }
    Ok(())
}

fn do_task(letter: u8, directory: &Path, views: &[ViewId]) -> io::Result<i32> {
    let is = |task: Task| letter == task as u8;
    if is(Task::ForgetSocket) {
        return std::fs::remove_file(socket_path(directory)).map(|()| 0);
    }
    if is(Task::ForgetLock) {
        return std::fs::remove_file(lock_path(directory)).map(|()| 0);
    }
    let Some(anchors) = Anchors::at(directory) else {
        let done = if is(Task::Abort) { unmount(directory) } else { Err(io::ErrorKind::InvalidInput.into()) };
        return done.map(|()| 0);
    };
    if is(Task::GiveWay) {
        return anchors.give_way().map(|way| if way == Way::Free { FREE } else { 0 });
    }
    let done = match letter {
        _ if is(Task::Stack) => anchors.stack(views),
        _ if is(Task::LetGo) => anchors.let_go(),
        _ if is(Task::Abort) => anchors.abort(),
        _ if is(Task::Remove) => anchors.remove(),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    };
    done.map(|()| 0)
}
