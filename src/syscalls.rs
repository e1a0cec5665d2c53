//! System calls that are answered for containers: what programs ask the kernel, and no file can cover.
//!
//! A filter (`filter`) makes such a call wait, and whoever has the filter's listener (`listener`) is told of
//! it. A container runtime hands the listener over (`oci`), and a thread answers it (`pool`). What is to be
//! said comes from the service, as for the files (`numbers`, `answer`), and is written into the caller's memory
//! (`caller`). A call that was received is noted until then (`call_table`). What can't be answered the kernel answers itself, as if nobody had been asked.

mod answer;
mod call_table;
mod caller;
mod calls;
mod filter;
mod listener;
mod numbers;
pub mod oci;
mod pool;
mod waiting_call;

pub use self::answer::Answering;
pub use self::call_table::{CallTable, LeftCall};
pub use self::calls::Call;
pub use self::filter::program;
pub use self::listener::Listener;
pub use self::numbers::{Numbers, ServedNumbers};
pub use self::pool::Pool;
