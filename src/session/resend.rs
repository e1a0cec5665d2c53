//! What becomes of requests that a predecessor had fetched and not answered.

use super::connection::Connection;
use super::journal::{Fetched, What};
use rustix::io::{Errno, write};
use std::io;
use std::os::fd::BorrowedFd;

/// `struct fuse_out_header` of include/uapi/linux/fuse.h: length, error, number of the request.
fn header(length: usize, error: i32, unique: u64) -> [u8; 16] {
    let mut header = [0; 16];
    header[..4].copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
    header[4..8].copy_from_slice(&error.to_ne_bytes());
    header[8..].copy_from_slice(&unique.to_ne_bytes());
    header
}

/// Has every one of them answered. To be called before the first request is read: a request that is being
/// answered would be given out a second time.
///
/// `text` is what a read has to get.
pub(super) fn settle(
    connection: &Connection,
    text: impl Fn(&Fetched) -> Result<Vec<u8>, i32>,
) -> io::Result<()> {
    let journal = connection.journal();
    match resend(connection.device()) {
        Ok(()) => {}
        Err(Errno::INVAL) => answer(connection, text)?,
        Err(error) => return Err(error.into()),
    }
    journal.clear();
    Ok(())
}

/// `FUSE_NOTIFY_RESEND`, since Linux 6.9: fetched requests are to be fetched again, the oldest first.
fn resend(device: BorrowedFd<'_>) -> rustix::io::Result<()> {
    const FUSE_NOTIFY_RESEND: i32 = 7;
    write(device, &header(16, FUSE_NOTIFY_RESEND, 0)).map(drop)
}

/// How many requests, by the kernel's numbers, may lie between one that was journalled and one that was fetched
/// at the same time.
const AROUND: u64 = 1024;
/// The kernel counts requests in steps of this (`FUSE_REQ_ID_STEP`, fs/fuse/dev.c).
const STEP: u64 = 2;

/// Answers from the journal.
///
/// What was fetched, but died with its reader before it came into the journal, would wait for ever: all around
/// the last known are told that they are stale, which has open(2) and stat(2) start again by themselves. A number
/// that nobody waits for, or that was not fetched yet, the kernel does not find.
fn answer(connection: &Connection, text: impl Fn(&Fetched) -> Result<Vec<u8>, i32>) -> io::Result<()> {
    let device = connection.device();
    let journal = connection.journal();
    for fetched in journal.fetched() {
        let answer = match fetched.what {
            What::Read { .. } => text(&fetched),
            What::Release => Ok(Vec::new()),
            What::Lookup | What::Other => Err(libc::ESTALE),
        };
        let (error, body) = match answer {
            Ok(body) => (0, body),
            Err(errno) => (-errno, Vec::new()),
        };
        let mut message = header(16 + body.len(), error, fetched.unique).to_vec();
        message.extend(body);
        reply(device, &message)?;
    }
    let latest = journal.latest();
    if latest != 0 {
        // 0 is no request's.
        let around = latest.saturating_sub(AROUND).max(1)..latest + AROUND;
        for unique in around.filter(|number| number % STEP == latest % STEP) {
            reply(device, &header(16, -libc::ESTALE, unique))?;
        }
    }
    Ok(())
}

/// Answers a request that may have its answer already.
pub(super) fn reply(device: BorrowedFd<'_>, message: &[u8]) -> io::Result<()> {
    match write(device, message) {
        Ok(_) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
