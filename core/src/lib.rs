//! What a Linux container has of memory and processors, by the files of its cgroup and of the host: parsers, the accounting
//! that procfs needs and cgroups lack, and the texts of `/proc` and `/sys` files.
//!
//! All of it is pure. Texts come in as bytes, the machine's page size and clock tick as arguments, and nothing is opened.
#![forbid(unsafe_code)]

pub mod cpu;
pub mod error;
pub mod load_average;
pub mod machine;
pub mod parse;
pub mod psi;
pub mod snapshot;
pub mod topology;
pub mod units;
pub mod view;
