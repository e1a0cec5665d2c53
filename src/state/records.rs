//! What the service stores for a successor: one record type a table.

mod cpu_account;
mod load;
mod psi_trigger;

pub use self::cpu_account::ContainerAccount;
pub use self::psi_trigger::{OrphanedTrigger, PollWaiter};
