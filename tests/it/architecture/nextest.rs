//! `cargo nextest` is told by a file what runs beside what, and `cargo test` by the program.

use super::root;
use std::collections::BTreeSet;
use std::fs;

/// Both let the same modules run beside each other.
pub fn runs_the_same_beside_each_other() {
    let config = fs::read_to_string(root().join(".config/nextest.toml")).unwrap();
    let (_, listed) = config.split_once("test(/^(").unwrap();
    let listed: BTreeSet<_> = listed.split_once(")::/)").unwrap().0.split('|').collect();
    let program = fs::read_to_string(root().join("tests/it/main.rs")).unwrap();
    let (_, patient) = program.split_once("const PATIENT").unwrap();
    let patient =
        patient.split_once("];").unwrap().0.lines().filter_map(|line| line.trim().strip_suffix("::tests,"));
    assert_eq!(listed, patient.collect());
}
