//! Tables in the README that tests make.

use std::fs;
use std::path::{Path, PathBuf};

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")
}

/// The README as it is, and as it is to be: with `table` between the marks `<!-- name: … -->` and `<!-- /name -->`.
fn with(name: &str, table: &str) -> (String, String) {
    let readme = fs::read_to_string(path()).unwrap();
    let (head, rest) = readme.split_once(&format!("<!-- {name}:")).unwrap();
    let (mark, rest) = rest.split_once("-->\n").unwrap();
    let end = format!("<!-- /{name} -->");
    let (_, tail) = rest.split_once(&end).unwrap();
    let wanted = format!("{head}<!-- {name}:{mark}-->\n{table}{end}{tail}");
    (readme, wanted)
}

/// Writes a table.
#[allow(dead_code, reason = "each test program uses its part")]
pub fn write(name: &str, table: &str) {
    fs::write(path(), with(name, table).1).unwrap();
}

/// Checks a table, or writes it anew with `UPDATE_README=1`.
#[allow(dead_code, reason = "each test program uses its part")]
pub fn check(name: &str, table: &str) {
    if std::env::var_os("UPDATE_README").is_some() {
        return write(name, table);
    }
    let (readme, wanted) = with(name, table);
    assert!(
        readme == wanted,
        "the README's table of {name} is not what it has to be: run with UPDATE_README=1"
    );
}
