//! Descriptors that one process passes to another, over a Unix socket.
//!
//! A process that is stopped and continued finds its call on a socket with a timeout ended by `EINTR`, even
//! if it handles no signal (signal(7)), so calls are repeated.

use rustix::io::retry_on_intr;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// How many go with one message at most.
const MAX_DESCRIPTORS: usize = 2;

/// Sends a message with the descriptors that go with it.
///
/// # Errors
/// The error that the kernel returns, and `InvalidInput` if there are more than two descriptors.
pub(crate) fn send(
    to: impl AsFd,
    message: &[u8],
    descriptors: &[BorrowedFd<'_>],
    flags: SendFlags,
) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    retry_on_intr(|| sendmsg(&to, &[IoSlice::new(message)], &mut ancillary, flags | SendFlags::NOSIGNAL))?;
    Ok(())
}

/// Receives a message: how long it is, 0 once the other side is gone, and the descriptors that came with it.
///
/// # Errors
/// The error that the kernel returns.
pub(crate) fn receive(from: impl AsFd, message: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = retry_on_intr(|| recvmsg(&from, &mut [IoSliceMut::new(message)], &mut ancillary, flags))?;
    let descriptors = ancillary.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect(),
        _ => Vec::new(),
    });
    Ok((received.bytes, descriptors.collect()))
}
