//! Where everything lies in the shared memory: a header, the tables, and the buffers that requests are read into.
//!
//! The header says where each part lies, and in which format it is. So a successor of another version finds the parts that it
//! knows, and leaves alone what it does not understand.

use super::in_flight;
use super::record::Record;
use super::records::{ContainerAccount, OrphanedTrigger};
use super::table::Table;
use crate::sys::{MOST_REQUEST_BUFFERS, REQUEST_BUFFER};
use cgprocfs_core::load_average::LoadState;

/// How many containers' CPU accounts are stored. Slots that are never used cost no memory.
pub const MAX_CPU_ACCOUNTS: usize = 1024;
/// How many containers' load averages are stored.
pub const MAX_LOADS: usize = 1024;
/// How many pressure triggers are stored.
pub const MAX_PSI_TRIGGERS: usize = 1024;

/// The value of the header's first word: who wrote the memory.
pub(super) const MAGIC: u64 = u64::from_ne_bytes(*b"cgprocf1");

const PAGE: usize = 4096;

/// Indices of the words of the header.
pub(super) mod header {
    use super::ByteString;

    pub(crate) const MAGIC: usize = 0;
    /// How many servers of the connection there have been before the present one, whatever their versions.
    pub(crate) const GENERATION: usize = 1;
    /// Offset of the request buffers, in bytes; 0 where there are none.
    pub(crate) const REQUEST_BUFFERS: usize = 3;
    /// 1 if nothing can be written to the file system; 0 if that is not known.
    pub(crate) const READ_ONLY: usize = 9;
    // The tables: each the offset in bytes, and then the format.
    pub(crate) const IN_FLIGHT: usize = 10;
    pub(crate) const CPU_ACCOUNTS: usize = 12;
    pub(crate) const PSI_TRIGGERS: usize = 14;
    pub(crate) const LOADS: usize = 16;
    /// The generation that last kept the tables up to date: unless that is the predecessor, they are of long ago.
    pub(crate) const ATTACHED_BY: usize = 18;
    /// 1 if the anchors were made for this connection; 0 if they were there before, or that is not known.
    pub(crate) const NEW_ANCHORS: usize = 19;
    /// The kernel's INIT request.
    pub(crate) const INIT_REQUEST: ByteString = ByteString { index: 64, max_words: 63 };
    /// A path of `PATH_MAX` bytes at most.
    pub(crate) const MOUNT_POINT: ByteString = ByteString { index: 128, max_words: 4096 / 8 };
    // The first versions, which compare no formats, had other things in words 2 and 4 to 8, and in 128 words from 1024 on.
    // They find no room in the former, and nothing in the latter.
    pub(crate) const WORDS: usize = 1024 + 128;
}

/// A string of bytes in the header: a word with its length in bytes, then room for so many words.
#[derive(Clone, Copy)]
pub(super) struct ByteString {
    pub(super) index: usize,
    pub(super) max_words: usize,
}

/// A table, as this version lays it out.
#[derive(Clone, Copy)]
pub(super) struct Part {
    /// Index of the header's word that has the offset; the next one has the format.
    pub(super) index: usize,
    /// Offset in a memory that this version makes, in bytes.
    pub(super) offset: usize,
    /// What tells it from parts that do not have the same words in the same places.
    pub(super) format: u64,
    /// Length in words.
    pub(super) words: usize,
}

impl Part {
    const fn table<R: Record>(index: usize, offset: usize, slots: usize) -> Self {
        Self { index, offset, format: Table::<R>::format(slots), words: Table::<R>::words(slots) }
    }

    /// Where the next part begins, in bytes.
    const fn end(self) -> usize {
        (self.offset + self.words * 8).next_multiple_of(PAGE)
    }
}

pub(super) const IN_FLIGHT: Part = Part {
    index: header::IN_FLIGHT,
    offset: (header::WORDS * 8).next_multiple_of(PAGE),
    format: in_flight::FORMAT,
    words: in_flight::WORDS,
};
pub(super) const CPU_ACCOUNTS: Part =
    Part::table::<ContainerAccount>(header::CPU_ACCOUNTS, IN_FLIGHT.end(), MAX_CPU_ACCOUNTS);
pub(super) const PSI_TRIGGERS: Part =
    Part::table::<OrphanedTrigger>(header::PSI_TRIGGERS, CPU_ACCOUNTS.end(), MAX_PSI_TRIGGERS);
pub(super) const LOADS: Part = Part::table::<LoadState>(header::LOADS, PSI_TRIGGERS.end(), MAX_LOADS);
pub(super) const TABLES: [Part; 4] = [IN_FLIGHT, CPU_ACCOUNTS, PSI_TRIGGERS, LOADS];

/// Offset of the request buffers in a memory that this version makes, and their length, in bytes.
pub(super) const REQUEST_BUFFERS: usize = LOADS.end();
pub(super) const REQUEST_BUFFERS_LENGTH: usize = MOST_REQUEST_BUFFERS * REQUEST_BUFFER;
/// Length of the memory, in bytes.
pub(super) const LENGTH: usize = REQUEST_BUFFERS + REQUEST_BUFFERS_LENGTH;

#[cfg(test)]
mod tests {
    use super::*;

    /// A change here makes this version drop what version 0.1 has left, and the other way round: increase the version of the
    /// record whose words have changed, and nothing else.
    #[test]
    fn the_layout_is_that_of_the_last_version() {
        assert_eq!(
            TABLES.map(|part| (part.index, part.offset, part.format, part.words)),
            [
                (10, 12_288, 0x0001_0000_0800_1000, 49_280),
                (12, 409_600, 0x0002_0006_1000_0400, 1_593_344),
                (14, 13_156_352, 0x0001_0000_0400_0400, 8_192),
                (16, 13_221_888, 0x0002_0000_0700_0400, 11_264),
            ]
        );
        assert_eq!((REQUEST_BUFFERS, LENGTH), (13_312_000, 13_312_000 + 8 * ((16 << 20) + 4096)));
    }
}
