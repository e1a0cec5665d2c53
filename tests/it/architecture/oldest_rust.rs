//! The oldest Rust that Cargo.toml promises. Clippy holds our own code to it (`incompatible_msrv`);
//! `.ci/msrv` compiles with it.

use crate::common::{Need, test};
use libtest_mimic::Trial;
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Command;

pub fn tests() -> Vec<Trial> {
    tests! {
        test(&[Need::Program("cargo")]) => [
            dependencies_need_no_newer_rust,
        ],
    }
}

/// No package that the program is made from says that it needs a newer one.
fn dependencies_need_no_newer_rust() {
    let tree = cargo(&["tree", "--workspace", "--edges=normal,build", "--prefix=none", "--format={p}"]);
    let used: BTreeSet<(&str, &str)> = tree
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some((words.next()?, words.next()?.strip_prefix('v')?))
        })
        .collect();
    assert!(used.len() > 20, "{used:?}");
    // What other systems need was not fetched to build this program.
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let metadata: Value =
        serde_json::from_str(&cargo(&["metadata", "--format-version=1", "--filter-platform", &target]))
            .unwrap();
    let promised = version(env!("CARGO_PKG_RUST_VERSION"));
    for package in metadata["packages"].as_array().unwrap() {
        let word = |key: &str| package[key].as_str().unwrap_or("0");
        if used.contains(&(word("name"), word("version"))) {
            let needed = word("rust_version");
            assert!(version(needed) <= promised, "{} needs Rust {needed}", word("name"));
        }
    }
}

fn cargo(words: &[&str]) -> String {
    let directory = env!("CARGO_MANIFEST_DIR");
    let mut command = Command::new("cargo");
    let output = command.args(words).args(["--locked", "--offline"]).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn version(text: &str) -> Vec<u32> {
    let mut numbers: Vec<u32> = text.split('.').map(|number| number.parse().unwrap()).collect();
    numbers.resize(3, 0);
    numbers
}
