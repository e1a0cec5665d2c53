//! The header of the shared memory: which word has what. The same for all versions, which may add words but
//! never change one.

/// The value of the first word: who wrote the memory.
pub(super) const MAGIC_NUMBER: u64 = u64::from_ne_bytes(*b"cgprocf1");

/// A string of bytes in the header: a word with its length in bytes, then a number of words for the bytes.
#[derive(Clone, Copy)]
pub(super) struct ByteString {
    pub(super) index: usize,
    pub(super) max_words: usize,
}

/// Has [`MAGIC_NUMBER`] once the memory is complete.
pub(super) const MAGIC: usize = 0;
/// How many servers of the connection there have been before the present one, whatever their versions.
pub(super) const GENERATION: usize = 1;
/// Offset of the request buffers, in bytes; 0 where there are none.
pub(super) const REQUEST_BUFFERS: usize = 3;
/// 1 if nothing can be written to the file system; 0 if that is not known.
pub(super) const READ_ONLY: usize = 9;
// The tables: each the offset in bytes, and then the format.
pub(super) const IN_FLIGHT: usize = 10;
pub(super) const CPU_ACCOUNTS: usize = 12;
pub(super) const PSI_TRIGGERS: usize = 14;
pub(super) const LOADS: usize = 16;
/// The generation that last kept the tables up to date: unless that is the predecessor, they are of long ago.
pub(super) const ATTACHED_BY: usize = 18;
/// 1 if the anchors were made for this connection; 0 if they were there before, or that is not known.
pub(super) const NEW_ANCHORS: usize = 19;
/// The kernel's INIT request.
pub(super) const INIT_REQUEST: ByteString = ByteString { index: 64, max_words: 63 };
/// A path of `PATH_MAX` bytes at most.
pub(super) const MOUNT_POINT: ByteString = ByteString { index: 128, max_words: 4096 / 8 };
/// How many words there are.
///
/// The first versions, which compare no formats, had other things in words 2 and 4 to 8, and in 128 words
/// from 1024 on: they find no room in the former, and nothing in the latter.
pub(super) const WORDS: usize = 1024 + 128;
