//! What was measured, as tables for people and, with `--json`, as lines of JSON for programs.

use crate::reader::{Figures, Setting};
use crate::subject::{BEFORE, Subject};
use serde::Serialize;

/// Where tables and JSON go.
#[derive(Clone, Copy)]
pub struct Output {
    /// JSON on stdout, tables on stderr; otherwise only tables, on stdout.
    pub json: bool,
}

/// All rounds of one subject in one setting.
#[derive(Serialize)]
pub struct Cell<'a> {
    pub setting: &'a str,
    pub view: &'a str,
    pub subject: &'a str,
    /// The median of each round.
    p50_us: Vec<f64>,
    p99_us: Vec<f64>,
    reads_per_second: Vec<f64>,
}

impl<'a> Cell<'a> {
    pub fn new(setting: &'a Setting, view: &'a str, subject: &'a Subject, rounds: &[Figures]) -> Self {
        let all = |figure: fn(&Figures) -> f64| rounds.iter().map(figure).collect();
        Self {
            setting: setting.name,
            view,
            subject: subject.name,
            p50_us: all(|round| round.p50),
            p99_us: all(|round| round.p99),
            reads_per_second: all(|round| round.per_second),
        }
    }

    /// The round with the least median: what disturbs a measurement makes it longer.
    fn best(&self) -> Figures {
        let least =
            (0..self.p50_us.len()).min_by(|&a, &b| self.p50_us[a].total_cmp(&self.p50_us[b])).unwrap();
        Figures { p50: self.p50_us[least], p99: self.p99_us[least], per_second: self.reads_per_second[least] }
    }

    /// By how much the greatest of the medians is above the least, in per cent.
    fn spread(&self) -> f64 {
        let greatest = self.p50_us.iter().copied().fold(0.0, f64::max);
        (greatest / self.best().p50 - 1.0) * 100.0
    }
}

impl Output {
    fn line(self, line: &str) {
        if self.json { eprintln!("{line}") } else { println!("{line}") }
    }

    fn print_json(self, cells: &[Cell<'_>]) {
        for cell in cells.iter().filter(|_| self.json) {
            println!("{}", serde_json::to_string(cell).unwrap());
        }
    }

    /// One setting, with a line for each subject.
    pub fn setting(self, setting: &Setting, cells: &[Cell<'_>]) {
        let p50_of = |name| cells.iter().find(|cell| cell.subject == name).map(|cell| cell.best().p50);
        self.line(&format!("\n{}", setting.name));
        self.line(&format!(
            "{:10} {:>9} {:>9} {:>9} {:>10} {:>10} {:>9} {:>9} {:>9}",
            "", "p50 us", "spread %", "p99 us", "reads/s", "x kernel", "x floor", "x before", "x lxcfs"
        ));
        for cell in cells {
            let best = cell.best();
            let ratio = |name| p50_of(name).map_or_else(String::new, |p50| format!("{:.2}", best.p50 / p50));
            self.line(&format!(
                "{:10} {:9.1} {:9.1} {:9.1} {:10.0} {:>10} {:>9} {:>9} {:>9}",
                cell.subject,
                best.p50,
                cell.spread(),
                best.p99,
                best.per_second,
                ratio("kernel"),
                ratio("floor"),
                ratio(BEFORE),
                ratio("lxcfs")
            ));
        }
        self.print_json(cells);
    }

    /// The head of the table of views.
    pub fn views(self, setting: &Setting) {
        self.line(&format!("\nevery view, {}", setting.name));
        self.line(&format!(
            "{:32} {:>9} {:>12} {:>9} {:>9} {:>9} {:>9}",
            "p50 us", "kernel", "cgprocfs", "spread %", BEFORE, "lxcfs", "lxcfs/us"
        ));
    }

    /// One view, with a column for each subject that has it.
    pub fn view(self, view: &str, cells: &[Cell<'_>]) {
        let of = |name: &str| cells.iter().find(|cell| cell.subject == name);
        let shown = |number: Option<f64>| number.map_or_else(|| "-".into(), |number| format!("{number:.1}"));
        let p50 = |name| of(name).map(|cell| cell.best().p50);
        let ratio = p50("lxcfs").zip(p50("cgprocfs")).map(|(lxcfs, ours)| lxcfs / ours);
        self.line(&format!(
            "{view:32} {:>9} {:>12} {:>9} {:>9} {:>9} {:>9}",
            shown(p50("kernel")),
            shown(p50("cgprocfs")),
            shown(of("cgprocfs").map(Cell::spread)),
            shown(p50(BEFORE)),
            shown(p50("lxcfs")),
            shown(ratio)
        ));
        self.print_json(cells);
    }
}
