//! The seams to fuser: everything here that depends on more of it than its API promises.
//!
//! A server of cgprocfs can be replaced while its file system stays mounted. fuser knows no such thing: it
//! makes one session of one mount, keeps requests in memory of its own, and ends with its process. What is
//! missing is added from outside, at these seams. Cargo.toml asks for exactly the release of fuser that they
//! were made for, and each has a test that fails if it no longer fits.
//!
//! | seam | what it relies on | why it is needed |
//! |---|---|---|
//! | [`init_replay`] | [`fuser::Session::from_fd`] reads FUSE_INIT from the descriptor that it is given and answers it there | The kernel sends FUSE_INIT once for a connection, and only to the first server. A later one gets it replayed through a pair of sockets. |
//! | [`init_replay`] | A session reads all that follows from the same descriptor number, of which it makes no copy as long as `clone_fd` is off | The connection takes the place of the socket by dup3(2). Requests that were read through a clone of the device die with the clone. |
//! | [`request_buffers`] | Each thread of a session reads requests into one zeroed block of [`crate::sys::REQUEST_BUFFER_SIZE`] bytes, a private constant of fuser's | Before Linux 6.9 a request dies with the process that has fetched it, unless the next one finds it. The binary's allocator puts these blocks into memory that outlives the process. |
//! | [`wakeup`] | Every statfs(2) of the file system reaches [`fuser::Filesystem::statfs`] on one of the session's threads | A thread that waits for a request can't be told to stop in any other way. |
//! | [`device_messages`] | The layout of replies, and that a reply which was dropped answers EIO | Requests of a predecessor are no requests of fuser's, so they are answered by hand, and the kernel is asked by hand to give them out again. |

pub(crate) mod device_messages;
pub(crate) mod init_replay;
#[cfg(test)]
pub(super) mod kernel_stub;
pub(crate) mod request_buffers;
pub(crate) mod wakeup;
