//! Where everything lies in the shared memory: a header, the tables, and the buffers that requests are read
//! into.
//!
//! The header says where each part lies, and in which format it is. So a successor of another version finds
//! the parts that it knows, and leaves alone what it does not understand.

use super::header;
use super::in_flight;
use super::record::Record;
use super::records::{ContainerAccount, OrphanedTrigger};
use super::table::Table;
use crate::sys::{MAX_REQUEST_BUFFERS, REQUEST_BUFFER_SIZE};
use cgprocfs_core::load_average::LoadState;

/// How many containers' CPU accounts are stored. Slots that are never used cost no memory.
pub const MAX_CPU_ACCOUNTS: usize = 1024;
/// How many containers' load averages are stored.
pub const MAX_LOADS: usize = 1024;
/// How many pressure triggers are stored.
pub const MAX_PSI_TRIGGERS: usize = 1024;

const PAGE: usize = 4096;

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
pub(super) const REQUEST_BUFFERS_LENGTH: usize = MAX_REQUEST_BUFFERS * REQUEST_BUFFER_SIZE;
/// Length of the memory, in bytes.
pub(super) const LENGTH: usize = REQUEST_BUFFERS + REQUEST_BUFFERS_LENGTH;

#[cfg(test)]
mod tests {
    use super::*;

    /// A change here makes this version drop what version 0.1 has left, and the other way round: increase the
    /// version of the record whose words have changed, and nothing else.
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
