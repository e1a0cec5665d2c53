//! The source is built as `docs/architecture.md` says: files depend on each other in no circle, rooms use
//! only those before them, and each file can be read in one go.

mod imports;
mod nextest;
mod oldest_rust;

use crate::common::test;
use imports::{Imports, sources};
use libtest_mimic::Trial;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

pub fn tests() -> Vec<Trial> {
    let mut tests = oldest_rust::tests();
    tests.extend(tests! {
        test(&[]) => [
            a_circle_is_found,
            files_form_no_circle,
            rooms_use_those_before_them,
            parts_use_what_is_above,
            functions_are_where_the_page_says,
            top_files_only_declare,
            files_are_short,
            unsafe_code_is_in_one_file,
        ],
    });
    tests.push(Trial::test("architecture::nextest_runs_the_same_beside_each_other", || {
        nextest::runs_the_same_beside_each_other();
        Ok(())
    }));
    tests
}

/// Files in circles that are still to be opened. One that is in none any more has to leave this list.
const IN_CIRCLES: &[&str] = &[];
/// Arrows against the order of rooms, likewise.
const AGAINST_THE_ORDER: &[(&str, &str)] = &[];
/// Top files of rooms that do more than declare, likewise.
const TOPS_WITH_CODE: &[&str] = &[];
/// Files that are still to be split, likewise. One that is a table, and better read as a whole, may stay.
const LONG: &[&str] = &[];

const MAX_LINES: usize = 300;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The finder of circles finds one through re-exports, modules that are named by their last name, and
/// arguments of macros; and none in tests.
fn a_circle_is_found() {
    let circles = |files: &[(&str, &str)]| {
        let files = files.iter().map(|(path, text)| (path.to_string(), text.to_string()));
        in_circles(&Imports::of(files).arrows()).into_iter().map(str::to_string).collect::<Vec<_>>()
    };
    let top = ("src/a.rs", "mod b;\nmod c;\npub use self::b::B;");
    let c = "use super::B;\npub struct C(B);";
    let both = ["src/a/b.rs", "src/a/c.rs"];
    for b in [
        "use super::c::C;",
        "use crate::a::c;\nfn f() -> c::C {}",
        "fn f() { println!(\"{}\", super::c::C::new()); }",
        "#[command(name = crate::a::c::NAME)]\npub struct B;",
        "use super::{c as d};",
    ] {
        assert_eq!(
            circles(&[top, ("src/a/b.rs", b), ("src/a/c.rs", c), ("src/lib.rs", "mod a;")]),
            both,
            "{b}"
        );
    }
    for b in [
        "#[cfg(test)]\nmod tests { use crate::a::c::C; }",
        "/// [`super::c::C`]\npub struct B;",
        "use log::c;",
    ] {
        assert_eq!(circles(&[top, ("src/a/b.rs", b), ("src/a/c.rs", c)]), [""; 0], "{b}");
    }
}

/// No file depends on a file that depends on it, through whatever others.
fn files_form_no_circle() {
    let imports = Imports::read(root());
    let arrows = imports.arrows();
    assert!(arrows.len() > 100 && arrows.values().flatten().count() > 300, "{arrows:#?}");
    let found = in_circles(&arrows);
    let within = |file| arrows[file].intersection(&found).copied().collect::<Vec<_>>();
    let picture: BTreeMap<_, _> = found.iter().map(|&file| (file, within(file))).collect();
    assert_known("in a circle", &found, IN_CIRCLES, &format!("{picture:#?}"));
}

/// The table of rooms names all rooms in their order, and each uses just those above it that it may.
fn rooms_use_those_before_them() {
    let table = rooms();
    let mut above = BTreeSet::new();
    for row in &table {
        assert!(row.may_use.is_subset(&above), "{:?} may use only rooms above it", row.rooms);
        above.extend(row.rooms.iter().cloned());
    }
    let imports = Imports::read(root());
    let arrows = imports.arrows();
    let there: BTreeSet<String> =
        arrows.keys().filter_map(|file| room_of(file)).map(str::to_string).collect();
    assert_eq!(above, there, "the rooms in docs/architecture.md are those of src/");
    let row_of = |room: &str| table.iter().find(|row| row.rooms.contains(room)).unwrap();
    let mut against = BTreeSet::new();
    for (&file, targets) in &arrows {
        let Some(row) = room_of(file).map(row_of) else { continue };
        let rooms = targets.iter().filter_map(|target| room_of(target));
        let forbidden = rooms.filter(|room| !row.rooms.contains(*room) && !row.may_use.contains(*room));
        against.extend(forbidden.map(|room| (file, room)));
    }
    assert_known("against the order of rooms", &against, AGAINST_THE_ORDER, "");
}

/// The pictures of core and of the two largest rooms name all that is in them, and each part uses just what
/// is above.
fn parts_use_what_is_above() {
    parts_are_as_shown("core/src/");
    parts_are_as_shown("src/kernel/");
    parts_are_as_shown("src/service/");
}

fn parts_are_as_shown(directory: &str) {
    let page = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let (_, picture) = page.split_once(&format!("\n{directory}\n")).unwrap();
    let lines = picture.lines().take_while(|line| line.starts_with("  ")).enumerate();
    let named = |line: &str| line.trim_start().split("  ").next().unwrap().replace(['/', ' '], "");
    let place: BTreeMap<String, usize> = lines
        .flat_map(|(row, line)| {
            named(line).split(',').map(|name| (name.to_string(), row)).collect::<Vec<_>>()
        })
        .collect();
    let imports = Imports::read(root());
    let arrows = imports.arrows();
    let module = |file: &str| {
        let below = file.strip_prefix(directory)?;
        let module = below.split('/').next()?.trim_end_matches(".rs").to_string();
        (module != "lib").then_some(module)
    };
    let there: BTreeSet<String> = arrows.keys().filter_map(|file| module(file)).collect();
    assert_eq!(
        there,
        place.keys().cloned().collect(),
        "what the picture of {directory} shows is what is there"
    );
    for (&file, targets) in &arrows {
        let Some(own) = module(file) else { continue };
        for target in targets.iter().filter_map(|target| module(target)) {
            assert!(place[&target] <= place[&own], "{file} uses {target}, which is below it in the picture");
        }
    }
}

/// A function that the page names together with a file is in that file.
fn functions_are_where_the_page_says() {
    let page = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let page = page.split_whitespace().collect::<Vec<_>>().join(" ");
    let pieces: Vec<&str> = page.split("()` (`").collect();
    assert!(pieces.len() > 15, "{}", pieces.len());
    for pair in pieces.windows(2) {
        let name = pair[0].rsplit(['`', ':']).next().unwrap();
        let file = pair[1].split('`').next().unwrap();
        let text = fs::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        let is_there = ["(", "<"].iter().any(|next| text.contains(&format!("fn {name}{next}")));
        assert!(is_there, "{name}() is not in {file}");
    }
}

/// The top file of a room says what is in it, and has nothing that its own children would need.
fn top_files_only_declare() {
    let mut with_code = BTreeSet::new();
    let sources = sources(root());
    for (path, text) in sources.iter().filter(|(path, _)| is_top(path)) {
        assert!(text.starts_with("//! "), "{path} does not say what is in it");
        let items = syn::parse_file(text).unwrap().items;
        let declares = |item: &syn::Item| match item {
            syn::Item::Mod(module) => module.content.is_none(),
            syn::Item::Use(import) => !matches!(import.vis, syn::Visibility::Inherited),
            _ => false,
        };
        if !items.iter().all(declares) {
            with_code.insert(&**path);
        }
    }
    assert_known("top files that do more than declare", &with_code, TOPS_WITH_CODE, "");
}

fn is_top(path: &str) -> bool {
    path.starts_with("src/")
        && path.matches('/').count() == 1
        && root().join(path.trim_end_matches(".rs")).is_dir()
}

/// A file is read in one go.
fn files_are_short() {
    let sources = sources(root());
    let lengths: BTreeMap<_, _> =
        sources.iter().map(|(path, text)| (&**path, text.lines().count())).collect();
    let long: BTreeSet<_> =
        lengths.iter().filter(|(_, lines)| **lines > MAX_LINES).map(|(path, _)| *path).collect();
    assert_known(&format!("longer than {MAX_LINES} lines"), &long, LONG, "");
}

/// The compiler refuses unsafe code but where a file says that it may have some.
fn unsafe_code_is_in_one_file() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(manifest.contains("\nunsafe_code = \"deny\"\n"));
    let core = fs::read_to_string(root().join("core/src/lib.rs")).unwrap();
    assert!(core.contains("\n#![forbid(unsafe_code)]\n"));
    let sources = sources(root());
    let allows = |text: &str| {
        ["allow", "expect", "warn"].iter().any(|level| text.contains(&format!("{level}(unsafe_code")))
    };
    let allowed: Vec<_> = sources.iter().filter(|(_, text)| allows(text)).map(|(path, _)| path).collect();
    assert_eq!(allowed, ["src/sys.rs"]);
}

/// Nothing is wrong but what is known to be, and what is known to be wrong still is.
fn assert_known<T: Ord + Copy + std::fmt::Debug>(
    what: &str,
    found: &BTreeSet<T>,
    known: &[T],
    picture: &str,
) {
    let known: BTreeSet<T> = known.iter().copied().collect();
    let new: Vec<_> = found.difference(&known).collect();
    assert!(new.is_empty(), "{what}: {new:#?}\n{picture}");
    let mended: Vec<_> = known.difference(found).collect();
    assert!(mended.is_empty(), "no longer {what}, so to be taken from the list: {mended:?}");
}

/// The files from which a way leads back to them.
fn in_circles<'f>(arrows: &BTreeMap<&'f str, BTreeSet<&'f str>>) -> BTreeSet<&'f str> {
    let reached = |start: &'f str| {
        let mut reached = BTreeSet::new();
        let mut next: Vec<&str> = vec![start];
        while let Some(file) = next.pop() {
            next.extend(arrows[file].iter().filter(|target| reached.insert(**target)));
        }
        reached
    };
    arrows.keys().copied().filter(|file| reached(file).contains(file)).collect()
}

/// A line of the table of rooms.
struct Row {
    rooms: BTreeSet<String>,
    may_use: BTreeSet<String>,
}

/// The table below "## Rooms" in docs/architecture.md: `rooms`, what is in them, and the rooms that they may
/// use. Those of its first two lines all others may use.
fn rooms() -> Vec<Row> {
    let page = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let (_, section) = page.split_once("\n## Rooms\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let names = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_string).collect();
    let rows = rows.map(|line| line.split('|').collect::<Vec<_>>());
    let mut rows: Vec<_> =
        rows.map(|cells| Row { rooms: names(cells[1]), may_use: names(cells[3]) }).collect();
    // Those that are for all.
    let last = rows.iter().position(|row| row.rooms.contains("sys")).unwrap();
    let (for_all, others) = rows.split_at_mut(last + 1);
    for row in others {
        row.may_use.extend(for_all.iter().flat_map(|row| row.rooms.iter().cloned()));
    }
    rows
}

/// The directory, or the file, of the daemon that a file belongs to; all of core is one. `None` is what puts
/// rooms together.
fn room_of(file: &str) -> Option<&str> {
    let Some(below) = file.strip_prefix("src/") else { return Some("core") };
    let room = below.split('/').next()?.trim_end_matches(".rs");
    (!matches!(room, "lib" | "main")).then_some(room)
}
