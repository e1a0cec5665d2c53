//! The README says what the code does.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "common/readme.rs"]
mod readme;

use cgprocfs::view::meminfo::provenance;
use std::fs;
use std::path::Path;

/// `UPDATE_README=1 cargo test --test readme` writes the table anew.
#[test]
fn table_of_lines_is_the_codes() {
    readme::check("lines", &provenance::markdown());
}

/// The two commands of the first screen are what the program understands.
#[test]
fn commands_are_real() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    assert!(readme.contains("$ cargo run --release -- run --memory 256M -- free -m\n"));
    let help =
        std::process::Command::new(env!("CARGO_BIN_EXE_cgprocfs")).args(["run", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    for option in ["--memory", "--refresh", "--json"] {
        assert!(readme.contains(option) && help.contains(option), "{option}");
    }
}
