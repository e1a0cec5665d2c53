//! Container-aware procfs and Kubernetes' working set, computed from the cgroup of whoever reads it, served
//! over FUSE.
//!
//! What is made of what was read is in `cgprocfs_core`, which opens nothing. Of the layers here each uses only those before it:
//! [`source`] reads the kernel; [`shared`] is memory that outlives the process; [`service`] answers a reader; [`fuse`], with a
//! [`journal`] of what it is about, and [`session`] mount that; [`daemon`] does so for all containers, [`supervisor`] keeps its
//! mount, [`run`] does it all for one command; [`cli`] is what a person sees. [`sandbox`] is what a process gives up, and
//! [`namespace_reader`] and [`steward`] are processes that do what the one that serves then may not. [`capture`] has a system copied
//! to be looked at elsewhere; [`error`] is what a reader can be told; [`sys`] has the unsafe code.

pub mod capture;
pub mod cli;
pub mod confinement;
pub mod error;
mod failpoint;
pub mod fuse;
pub mod kernel;
pub mod lifecycle;
pub mod limits;
pub mod mount;
mod rate_limited_log;
pub mod run;
pub mod service;
pub mod shares;
pub mod state;
pub mod sys;
