//! The file system as the kernel sees it, over FUSE. It translates requests into calls of
//! [`crate::service::Service`] and computes nothing itself.
//!
//! [`ViewFs`] is what fuser calls, and [`QuiesceGate`] is where its threads stop before another process takes
//! over. `seams` is everything that depends on more of fuser than its API promises. This module may use the
//! kernel readers, the service and the shared state; how a file system is mounted and handed on is not known
//! here.

mod answer;
mod directory_handles;
mod directory_requests;
mod file;
mod file_handles;
mod file_requests;
mod filesystem;
mod handle_numbers;
mod node;
mod quiesce_gate;
mod replay;
pub(crate) mod seams;
mod served;
mod tree;
mod trigger_requests;

pub use self::filesystem::ViewFs;
pub use self::quiesce_gate::QuiesceGate;
pub(crate) use self::replay::replay_request;
pub use self::served::ServedConnection;
pub(crate) use self::trigger_requests::waker;
pub(crate) use fuser::Errno;
