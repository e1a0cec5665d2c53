//! The README and the pages in `docs/`, and the tables in them that tests make.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every page, the README first.
pub fn pages() -> Vec<(PathBuf, String)> {
    let at_top = ["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(|name| root().join(name));
    let mut docs: Vec<PathBuf> =
        fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    docs.sort();
    let paths = at_top.into_iter().chain(docs);
    paths.map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// The page that has the marks `<!-- name: … -->` and `<!-- /name -->`, as it is, and as it is with `table`
/// between them.
fn with(name: &str, table: &str) -> (PathBuf, String, String) {
    let begin = format!("<!-- {name}:");
    let (path, page) = pages().into_iter().find(|(_, page)| page.contains(&begin)).unwrap();
    let (head, rest) = page.split_once(&begin).unwrap();
    let (mark, rest) = rest.split_once("-->\n").unwrap();
    let end = format!("<!-- /{name} -->");
    let (_, tail) = rest.split_once(&end).unwrap();
    let wanted = format!("{head}{begin}{mark}-->\n{table}{end}{tail}");
    (path, page, wanted)
}

/// Writes a table.
pub fn write(name: &str, table: &str) {
    let (path, _, wanted) = with(name, table);
    fs::write(path, wanted).unwrap();
}

/// Checks a table, or writes it anew with `UPDATE_DOCS=1`.
pub fn check(name: &str, table: &str) {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        return write(name, table);
    }
    let (path, page, wanted) = with(name, table);
    assert!(
        page == wanted,
        "the table of {name} in {} is not what it has to be: run with UPDATE_DOCS=1",
        path.display()
    );
}
