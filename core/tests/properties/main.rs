//! What holds for every snapshot, however wild, and for every text that the parsers are given.
#![allow(clippy::unwrap_used)]

mod invariants;
mod malformed_counters;
mod parsers;
mod snapshots;
mod strategies;
