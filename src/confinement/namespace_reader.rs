//! A process that reads in cgroup namespaces, so that the one that serves need not be allowed to enter them.
//!
//! Entering a namespace takes CAP_SYS_ADMIN (setns(2)), and only from inside does the kernel say where its
//! root is; what a process shows in its own mounts is its own to arrange. This process does nothing else, and
//! opens nothing: it is given the namespace and an open `/proc/PID/cgroup`, enters the former, reads the
//! latter and sends the text.

use super::sandbox::{self, Refusal};
use crate::descriptors;
use nix::sys::signal::SigSet;
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, pread};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};
use rustix::thread::{CapabilitySet, LinkNameSpaceType, move_into_link_name_space};
use std::io::{self, stdin};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// The hidden command by which it is started.
pub const COMMAND: &str = "read-namespaces-for-stdin";

/// How long a request may take. It usually takes some 50 µs.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// How long to wait for the process to answer. After that it never will.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(10);
/// How many bytes a text may have. With the longest possible path in every hierarchy there are some 60 KiB.
const MAX_TEXT_BYTES: usize = 100 << 10;

/// The process that reads in namespaces. It ends with this one.
pub struct NamespaceReader {
    channel: Mutex<Channel>,
    lost: Box<dyn Fn() + Send + Sync>,
    _process: Child,
}

struct Channel {
    socket: OwnedFd,
    /// When the request was sent whose answer has not come yet. It has to come before the next request.
    late: Option<Instant>,
}

impl NamespaceReader {
    /// Starts the process, and returns when it is ready. `lost` is called once it does not answer any more.
    ///
    /// # Errors
    /// Where no process can be made, or it is not allowed what it needs.
    pub fn start(lost: impl Fn() + Send + Sync + 'static) -> io::Result<Self> {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let process = Command::new("/proc/self/exe")
            .arg(COMMAND)
            .stdin(theirs)
            // A terminal's keys must not end this process.
            .process_group(0)
            .spawn()?;
        let reader = Self {
            channel: Mutex::new(Channel { socket: ours, late: None }),
            lost: Box::new(lost),
            _process: process,
        };
        reader.channel.lock().answer(SILENCE_TIMEOUT)?;
        Ok(reader)
    }

    /// The text of `membership`, an open `/proc/PID/cgroup`, as it looks from inside a cgroup namespace.
    ///
    /// # Errors
    /// EAGAIN where there is no answer in time, ESRCH where the process is gone.
    pub fn text(&self, namespace: BorrowedFd<'_>, membership: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
        let channel = self.channel.try_lock_for(ANSWER_TIMEOUT);
        let mut channel = channel.ok_or_else(no_answer)?;
        match channel.ask(namespace, membership) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if channel.late.is_some_and(|since| since.elapsed() > SILENCE_TIMEOUT) {
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
    Errno::AGAIN.into()
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

impl Channel {
    fn ask(&mut self, namespace: BorrowedFd<'_>, membership: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
        if self.late.is_some() {
            // Nobody waits for this answer any more.
            let _ = self.answer(Duration::ZERO);
            if self.late.is_some() {
                return Err(no_answer());
            }
        }
        descriptors::send(&self.socket, b"?", &[namespace, membership], SendFlags::DONTWAIT)?;
        self.late = Some(Instant::now());
        self.answer(ANSWER_TIMEOUT)
    }

    /// Receives the answer that is due: an errno, then the text.
    fn answer(&mut self, timeout: Duration) -> io::Result<Vec<u8>> {
        let timeout = Timespec::try_from(timeout).map_err(|_| io::ErrorKind::InvalidInput)?;
        if poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&timeout))? == 0 {
            return Err(no_answer());
        }
        let mut answer = vec![0; MAX_TEXT_BYTES];
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

/// The whole life of that process: answers until the other side of stdin is gone.
///
/// # Errors
/// Where it can't begin.
pub fn answer_stdin() -> io::Result<()> {
    // A service manager sends signals to all processes of a unit, and the server may still have to ask.
    SigSet::all().thread_block()?;
    let own = std::fs::File::open("/proc/self/ns/cgroup")?;
    let socket = stdin();
    sandbox::keep_only(CapabilitySet::SYS_ADMIN).map_err(io::Error::other)?;
    sandbox::restrict_namespace_reader(Refusal::OF_BUILD).map_err(io::Error::other)?;
    let mut message = vec![0; MAX_TEXT_BYTES];
    message[..4].fill(0);
    send(&socket, &message[..4], SendFlags::NOSIGNAL)?;
    while let Some(request) = receive_request(socket.as_fd())? {
        let length = match request {
            Some([namespace, membership]) => {
                read_inside(own.as_fd(), namespace.as_fd(), membership.as_fd(), &mut message[4..])
            }
            None => Err(Errno::INVAL),
        };
        let (errno, length) = length.map_or_else(|error| (error.raw_os_error(), 0), |length| (0, length));
        message[..4].copy_from_slice(&errno.to_ne_bytes());
        send(&socket, &message[..4 + length], SendFlags::NOSIGNAL)?;
    }
    Ok(())
}

/// Receives the next request; `None` when there will be no other, and `Some(None)` if it is not understood.
fn receive_request(socket: BorrowedFd<'_>) -> io::Result<Option<Option<[OwnedFd; 2]>>> {
    let mut tag = [0];
    let (length, received) = descriptors::receive(socket, &mut tag)?;
    Ok((length > 0).then(|| received.try_into().ok()))
}

/// Reads in a namespace, and leaves it. Staying there would keep the namespace, and with it a removed cgroup,
/// from being freed.
fn read_inside(
    own: BorrowedFd<'_>,
    namespace: BorrowedFd<'_>,
    membership: BorrowedFd<'_>,
    text: &mut [u8],
) -> Result<usize, Errno> {
    let enter = |namespace| move_into_link_name_space(namespace, Some(LinkNameSpaceType::ControlGroup));
    enter(namespace)?;
    // The kernel makes the text at this call, and for this caller (`proc_cgroup_show()`,
    // kernel/cgroup/cgroup.c).
    let length = pread(membership, &mut *text, 0);
    enter(own)?;
    // A full buffer means that the text was cut short.
    length.and_then(|length| if length == text.len() { Err(Errno::FBIG) } else { Ok(length) })
}
