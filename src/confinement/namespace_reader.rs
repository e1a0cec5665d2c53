//! A process that looks into cgroup namespaces, so that the one that serves need not be allowed to.
//!
//! To enter a namespace takes CAP_SYS_ADMIN (setns(2)), and only from inside does the kernel say where its root is: what
//! a process sees of its own mounts is its own to arrange. This process does nothing else. It opens nothing: it is given
//! the namespace, and the open `/proc/PID/cgroup`, enters the one, reads the other and sends the text.

use super::sandbox;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::SigSet;
use parking_lot::Mutex;
use rustix::io::{Errno, pread};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recv, recvmsg, send, sendmsg, socketpair,
};
use rustix::thread::{CapabilitySet, LinkNameSpaceType, move_into_link_name_space};
use std::io::{self, IoSlice, IoSliceMut, stdin};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// The hidden command by which it is started.
pub const COMMAND: &str = "read-namespaces-for-stdin";

/// How long a reader waits for an answer, which takes some 50 µs.
const PATIENCE: Duration = Duration::from_secs(1);
/// One that has not answered for so long never will.
const SILENCE: Duration = Duration::from_secs(10);
/// No text is as long: with the longest of names in each of all hierarchies it has some 60 KiB.
const MOST: usize = 100 << 10;

/// Such a process, which ends with this one.
pub struct NamespaceReader {
    asking: Mutex<Asking>,
    lost: Box<dyn Fn() + Send + Sync>,
    _process: Child,
}

struct Asking {
    socket: OwnedFd,
    /// Since when an answer is late. It has to come before anything else is asked.
    late: Option<Instant>,
}

impl NamespaceReader {
    /// Starts one, and returns when it is ready. `lost` is called when it answers no more.
    ///
    /// # Errors
    /// Where no process can be made, or it is not allowed what it needs.
    pub fn start(lost: impl Fn() + Send + Sync + 'static) -> io::Result<Self> {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let process = Command::new("/proc/self/exe")
            .arg(COMMAND)
            .stdin(theirs)
            // What a terminal's keys end is not this process.
            .process_group(0)
            .spawn()?;
        let reader = Self {
            asking: Mutex::new(Asking { socket: ours, late: None }),
            lost: Box::new(lost),
            _process: process,
        };
        reader.asking.lock().answer(SILENCE)?;
        Ok(reader)
    }

    /// The text of `membership`, an open `/proc/PID/cgroup`, as it looks from inside a cgroup namespace.
    ///
    /// # Errors
    /// EAGAIN where there is no answer in time, ESRCH where the process is gone.
    pub fn text(&self, namespace: BorrowedFd<'_>, membership: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
        let asking = self.asking.try_lock_for(PATIENCE);
        let mut asking = asking.ok_or_else(no_answer)?;
        match asking.ask(namespace, membership) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if asking.late.is_some_and(|since| since.elapsed() > SILENCE) {
                    (self.lost)();
                }
                Err(error)
            }
            Err(error) if is_gone(&error) => {
                (self.lost)();
                Err(error)
            }
            answer => answer,
        }
    }
}

fn no_answer() -> io::Error {
    io::Error::from_raw_os_error(libc::EAGAIN)
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

impl Asking {
    fn ask(&mut self, namespace: BorrowedFd<'_>, membership: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
        if self.late.is_some() {
            // Whose reader has its error by now.
            let _ = self.answer(Duration::ZERO);
            if self.late.is_some() {
                return Err(no_answer());
            }
        }
        let descriptors = [namespace, membership];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        sendmsg(&self.socket, &[IoSlice::new(b"?")], &mut ancillary, flags)?;
        self.late = Some(Instant::now());
        self.answer(PATIENCE)
    }

    /// The one answer that there is to come: an errno, then the text.
    fn answer(&mut self, patience: Duration) -> io::Result<Vec<u8>> {
        let wait = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
        if poll(&mut [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)], wait)? == 0 {
            return Err(no_answer());
        }
        let mut answer = vec![0; MOST];
        let (length, _) = recv(&self.socket, &mut answer[..], RecvFlags::DONTWAIT)?;
        answer.truncate(length);
        self.late = None;
        let text = answer.split_off(length.min(4));
        let errno = answer.try_into().map(i32::from_ne_bytes);
        match errno.map_err(|_| io::ErrorKind::BrokenPipe)? {
            0 => Ok(text),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

/// Its whole life: answers until the other side of stdin is gone.
///
/// # Errors
/// Where it can't begin.
pub fn answer_stdin() -> io::Result<()> {
    // A service manager sends them to all processes of a unit, and the server may still have to ask.
    SigSet::all().thread_block()?;
    let own = std::fs::File::open("/proc/self/ns/cgroup")?;
    let socket = stdin();
    sandbox::keep_only(CapabilitySet::SYS_ADMIN).map_err(io::Error::other)?;
    sandbox::restrict_namespace_reader().map_err(io::Error::other)?;
    let mut message = vec![0; MOST];
    message[..4].fill(0);
    send(&socket, &message[..4], SendFlags::NOSIGNAL)?;
    while let Some(asked) = asked(socket.as_fd())? {
        let length = match asked {
            Some([namespace, membership]) => {
                look(own.as_fd(), namespace.as_fd(), membership.as_fd(), &mut message[4..])
            }
            None => Err(Errno::INVAL),
        };
        let (errno, length) = length.map_or_else(|error| (error.raw_os_error(), 0), |length| (0, length));
        message[..4].copy_from_slice(&errno.to_ne_bytes());
        send(&socket, &message[..4 + length], SendFlags::NOSIGNAL)?;
    }
    Ok(())
}

/// What is asked next; `None` when nothing ever will be, and `Some(None)` if it is not understood.
fn asked(socket: BorrowedFd<'_>) -> io::Result<Option<Option<[OwnedFd; 2]>>> {
    let mut letter = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut into = [IoSliceMut::new(&mut letter)];
    if recvmsg(socket, &mut into, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?.bytes == 0 {
        return Ok(None);
    }
    let mut descriptors = ancillary.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect(),
        _ => Vec::new(),
    });
    Ok(Some(descriptors.next().zip(descriptors.next()).map(|(first, second)| [first, second])))
}

/// Reads from inside, and leaves: who stays keeps the namespace, and with it a removed cgroup, from being freed.
fn look(
    own: BorrowedFd<'_>,
    namespace: BorrowedFd<'_>,
    membership: BorrowedFd<'_>,
    text: &mut [u8],
) -> Result<usize, Errno> {
    let enter = |namespace| move_into_link_name_space(namespace, Some(LinkNameSpaceType::ControlGroup));
    enter(namespace)?;
    // The text is made by this call, for who makes it (`proc_cgroup_show()`, kernel/cgroup/cgroup.c).
    let length = pread(membership, &mut *text, 0);
    enter(own)?;
    // Cut short.
    length.and_then(|length| if length == text.len() { Err(Errno::FBIG) } else { Ok(length) })
}
