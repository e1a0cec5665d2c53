//! The documentation's table of what was proven on which kernel, made from what the guests print.

use crate::common::documentation;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

/// What one guest printed, by its place in the matrix.
static GUESTS: Mutex<BTreeMap<usize, String>> = Mutex::new(BTreeMap::new());

/// Notes what the guest at a place of the matrix printed.
pub fn note(place: usize, said: String) {
    GUESTS.lock().unwrap_or_else(PoisonError::into_inner).insert(place, said);
}

/// Writes the table into the documentation.
pub fn write(tests: &[&str]) {
    let mut table = format!("| Linux, cgroups | {} | predicted less allocatable |\n", tests.join(" | "));
    table += &format!("|---|{}---|\n", "---|".repeat(tests.len()));
    for said in GUESTS.lock().unwrap_or_else(PoisonError::into_inner).values() {
        table += &row(tests, said);
    }
    documentation::write("guests", &table);
}

fn row(tests: &[&str], said: &str) -> String {
    let kernel = said.lines().find_map(|line| line.strip_prefix("guest: Linux ")).unwrap();
    let mut row = format!("| {} |", plain(kernel));
    for test in tests {
        let own = said.split(&format!("guest: {test}\n")).nth(1).unwrap_or_default();
        let Some(result) = own.lines().find(|line| line.starts_with("test result: ")) else {
            row += " not run |";
            continue;
        };
        let number = |what: &str| {
            let words = result.split(' ').zip(result.split(' ').skip(1));
            words
                .clone()
                .find(|(_, word)| word.starts_with(what))
                .map_or("0", |(number, _)| number)
                .to_string()
        };
        match number("ignored").as_str() {
            "0" => write!(row, " {} |", number("passed")).unwrap(),
            ignored => write!(row, " {}, {ignored} skipped |", number("passed")).unwrap(),
        }
    }
    let differences = said.lines().filter_map(difference);
    let (least, most) =
        differences.fold((f64::MAX, f64::MIN), |(least, most), d| (least.min(d), most.max(d)));
    writeln!(row, " {least:+.2} to {most:+.2} MiB |").unwrap();
    row
}

/// The kernel's release without the build's number, and what init says of the rest.
fn plain(kernel: &str) -> String {
    let (release, rest) = kernel.split_once(", ").unwrap();
    let (layout, rest) = rest.split_once(", swap ").unwrap();
    let (swap, lru) = rest.split_once(", lru_gen ").unwrap();
    let swap = if swap == "yes" { ", swap" } else { "" };
    let lru = if lru.trim_end_matches('0').ends_with('x') { "" } else { ", MGLRU" };
    let release = release.split('-').next().unwrap();
    format!("{release}, {layout}{swap}{lru}")
}

/// By how much MemAvailable was above what could be allocated, in MiB.
fn difference(line: &str) -> Option<f64> {
    let numbers = line.strip_prefix("oracle: ")?.split_once("predicted ")?.1;
    let (predicted, rest) = numbers.split_once(" MiB, allocatable ")?;
    let allocatable = rest.strip_suffix(" MiB")?;
    Some(predicted.trim().parse::<f64>().ok()? - allocatable.trim().parse::<f64>().ok()?)
}
