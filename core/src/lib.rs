//! How much memory and how many processors a Linux container has, according to the files of its cgroup and of
//! the host: parsers, the accounting that procfs needs and cgroups lack, and the texts of `/proc` and `/sys`
//! files.
//!
//! The crate is pure: texts come in as bytes, the machine's page size and clock rate as arguments, and
//! nothing is opened.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod cpu;
pub mod error;
pub mod load_average;
pub mod machine;
pub mod memory;
pub mod parse;
pub mod psi;
pub mod snapshot;
pub mod syscalls;
pub mod time;
pub mod topology;
pub mod units;
pub mod view;
