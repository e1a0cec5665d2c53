//! Least privilege: what a process gives up before it deals with tenants.
//!
//! [`sandbox`] confines processes, and [`namespace_reader`] is one that does what a confined one may not.
//! This module may use only what every other may.

mod calls;
pub mod namespace_reader;
pub mod sandbox;
