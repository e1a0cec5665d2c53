//! Container-aware procfs and Kubernetes' working set, computed from the cgroup of whoever reads it, served
//! over FUSE.
//!
//! What is made of what was read is in `cgprocfs_core`, which opens nothing. The rooms here, and which may
//! use which, are in `docs/architecture.md`: [`kernel`] reads, [`service`] answers, [`fuse`] and [`mount`]
//! show, [`syscalls`] answers what no file says, [`lifecycle`] keeps it going, [`run`] does it all for one command, [`containers`] brings the files
//! into those of others, [`diagnosis`] tells how all that is, and [`cli`] is what a person sees.

pub mod capture;
pub mod cli;
pub mod confinement;
pub mod containers;
mod descriptors;
pub mod diagnosis;
pub mod error;
mod failpoint;
pub mod fuse;
pub mod kernel;
pub mod lifecycle;
pub mod limits;
pub mod mount;
pub mod process;
mod rate_limited_log;
pub mod run;
pub mod service;
pub mod shares;
pub mod state;
pub mod sys;
pub mod syscalls;
