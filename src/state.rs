//! What outlives the process: tables of records in shared memory, which a successor goes on with.
//!
//! A process may die at any moment, even while it writes. So a record is there as a whole or not at all
//! (`seqlock`), it is found without touching the rest of its table (`table`), and each table says in which
//! format it is (`layout`): a successor of another version reads what it knows and drops the rest.

mod header;
pub mod in_flight;
mod indexed;
mod layout;
mod memory;
mod open_file;
mod persistent;
mod record;
mod records;
mod seqlock;
mod table;
mod word;

pub use self::indexed::IndexedTable;
pub use self::layout::{MAX_CPU_ACCOUNTS, MAX_LOADS, MAX_PSI_TRIGGERS};
pub use self::open_file::OpenFile;
pub use self::persistent::{PersistentState, StateError};
pub use self::record::Record;
pub use self::records::{ContainerAccount, OrphanedTrigger, PollWaiter};
pub use self::table::Table;
pub use self::word::Word;
