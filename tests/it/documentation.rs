//! The README and `docs/` say what the code does, and show what it prints.

mod in_a_sentence;

use crate::common::documentation::{self, pages};
use crate::common::{MOUNT, Need, cgprocfs, cgprocfs_path, finish, output, test};
use cgprocfs_core::memory::provenance;
use libtest_mimic::Trial;
use std::fs;
use std::path::Path;
use std::process::Command;

const SCREEN: &[Need] = &[Need::Root, Need::Fuse, Need::Program("free")];

pub fn tests() -> Vec<Trial> {
    let mut tests = in_a_sentence::tests();
    tests.extend(tests! {
        test(&[]) => [
            the_readme_is_short,
            links_lead_somewhere,
            every_page_is_linked,
            table_of_lines_is_the_codes,
            table_of_attacks_has_all,
            patience_is_the_codes,
            commands_are_understood,
            commands_are_run_or_say_why_not,
            options_are_understood,
            files_and_tests_are_there,
        ],
        test(SCREEN) => [
            first_screen,
        ],
        test(&[Need::Root, Need::Fuse, Need::Program("busybox")]) => [
            system_calls,
        ],
        test(MOUNT) => [
            show_needs_no_daemon,
        ],
    });
    tests
}

/// What a container is beside is on the page, in the order of the tests, and rows of the README are the same.
fn table_of_attacks_has_all() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/security.md")).unwrap();
    let table = page.split("<!-- isolation: ").nth(1).unwrap().split("<!-- /isolation -->").next().unwrap();
    let loads = table.lines().skip(3).filter_map(|row| Some(row.strip_prefix("| ")?.split_once(" |")?.0));
    assert_eq!(loads.collect::<Vec<_>>(), crate::isolation::ROWS);
    let readme = readme();
    let (_, rows) = readme.split_once("\n| beside a container with |").unwrap();
    let rows: Vec<_> = rows.lines().skip(2).take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() > 3 && rows.iter().all(|row| table.contains(row)), "{rows:?}");
}

/// `UPDATE_DOCS=1 cargo test documentation::` writes the table anew.
fn table_of_lines_is_the_codes() {
    documentation::check("lines", &provenance::markdown());
}

fn text() -> String {
    pages().into_iter().map(|(_, page)| page).collect()
}

fn readme() -> String {
    pages().swap_remove(0).1
}

/// A newcomer reads it to its end.
fn the_readme_is_short() {
    assert!(readme().len() <= 8 << 10, "{} bytes", readme().len());
}

/// The name of a heading in a link to it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    kept.chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

/// Every link within these pages leads to a file, and to a heading in it.
fn links_lead_somewhere() {
    let mut found = 0;
    for (path, page) in pages() {
        let targets = page.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://")) {
            found += 1;
            let (file, heading) =
                target.split_once('#').map_or((target, None), |(file, heading)| (file, Some(heading)));
            let file = if file.is_empty() { path.clone() } else { path.with_file_name(file) };
            let there =
                fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {target}: {e}", path.display()));
            if let Some(heading) = heading {
                let is_there = there.lines().any(|line| line.starts_with('#') && anchor(line) == heading);
                assert!(is_there, "{}: {target}", path.display());
            }
        }
    }
    assert!(found > 20, "{found}");
}

/// Every page of `docs/` can be found from the README.
fn every_page_is_linked() {
    for (path, _) in pages().iter().skip(1) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let mentioned = readme().contains(&format!("{name})"));
        assert!(mentioned, "{name}");
    }
}

/// How long a reader waits for the age of its container.
fn patience_is_the_codes() {
    let text = text();
    let (_, after) = text.split_once("so the blocking lane reads it. After ").unwrap();
    let (seconds, _) = after.split_once(" s").unwrap();
    assert_eq!(seconds.parse(), Ok(cgprocfs::service::START_SEARCH_TIMEOUT.as_secs_f64()));
}

/// What is written as code within a line, and each command of a console.
fn code(text: &str) -> Vec<&str> {
    let spans = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    let commands = text.lines().filter_map(|line| line.strip_prefix("$ ").or(line.strip_prefix("# ")));
    spans.chain(commands).flat_map(|command| command.split(" && ")).collect()
}

/// The program's arguments in a command line, with something in the place of what is to be filled in.
fn arguments(command: &str) -> Option<Vec<String>> {
    let starts = ["cgprocfs ", "cargo run --release -- "];
    let words = starts.iter().find_map(|start| command.strip_prefix(start))?;
    // Where the shell writes what it prints.
    let words = words.split(" > ").next()?;
    Some(words.split_whitespace().map(|word| filled_in(word.trim_matches(['[', ']']))).collect())
}

fn filled_in(word: &str) -> String {
    match word {
        "VIEW" => "meminfo",
        "DIR" => "/tmp",
        "PID" => "1",
        "SIZE" => "64M",
        "NUMBER" => "1.5",
        word => word,
    }
    .to_string()
}

/// What the program says of arguments that it is not to act upon: an option that asks for help comes last,
/// once all others were understood.
fn parsed(arguments: &[String]) -> Result<(), String> {
    let end = arguments.iter().position(|word| word == "--").unwrap_or(arguments.len());
    let (options, rest) = arguments.split_at(end);
    let output = finish(cgprocfs().args(options).arg("--help").args(rest));
    output.status.success().then_some(()).ok_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Every command that a page shows is one that the program understands.
fn commands_are_understood() {
    let text = text();
    let commands: Vec<_> = code(&text).into_iter().filter_map(arguments).collect();
    for command in &commands {
        parsed(command).unwrap_or_else(|error| panic!("{command:?}: {error}"));
    }
    let words: Vec<&str> = commands.iter().map(|command| command[0].as_str()).collect();
    for word in ["run", "mount", "show", "unmount", "status"] {
        assert!(words.contains(&word), "{word} is not among {words:?}");
    }
    assert!(parsed(&["mount".into(), "--no-such-option".into()]).is_err());
}

/// Above the commands of a console stands which test runs them, or why none does.
fn commands_are_run_or_say_why_not() {
    let names = names_of_tests();
    let mut run = 0;
    for (path, page) in pages() {
        let lines: Vec<&str> = page.lines().collect();
        for pair in lines.windows(2).filter(|pair| pair[1] == "```console") {
            let mark = pair[0].strip_prefix("<!-- ").and_then(|mark| mark.strip_suffix(" -->"));
            match mark.and_then(|mark| mark.split_once(": ")) {
                Some(("run", name)) if names.iter().any(|known| known == name) => run += 1,
                Some(("not run", reason)) if !reason.is_empty() => {}
                _ => panic!("{}: {:?} above a console", path.display(), pair[0]),
            }
        }
    }
    assert!(run >= 5, "{run}");
}

fn names_of_tests() -> Vec<String> {
    let trials = crate::GROUPS.iter().flat_map(|group| group.tests.iter().flat_map(|tests| tests()));
    trials.map(|trial| trial.name().to_string()).collect()
}

/// What is written without a command is an option of at least one.
fn options_are_understood() {
    let text = text();
    let options: Vec<&str> = code(&text).into_iter().filter(|code| code.starts_with("--")).collect();
    assert!(options.len() > 10, "{options:?}");
    for option in options {
        let with = |command: &str| {
            let words = option.split_whitespace().map(filled_in);
            parsed(&[command.to_string()].into_iter().chain(words).collect::<Vec<_>>())
        };
        let understood = ["run", "mount", "show", "unmount", "seccomp-profile"]
            .into_iter()
            .any(|command| with(command).is_ok());
        assert!(understood, "{option}");
    }
}

/// What is to be installed, and what is to be run with cargo.
fn files_and_tests_are_there() {
    let (root, text) = (Path::new(env!("CARGO_MANIFEST_DIR")), text());
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let mut found = 0;
    for code in code(&text) {
        let words: Vec<&str> = code.split_whitespace().collect();
        for pair in words.windows(2) {
            match pair {
                ["test", filter] if filter.contains("::") => {
                    let module = filter.split("::").next().unwrap();
                    assert!(root.join(format!("tests/it/{module}.rs")).exists(), "{code}");
                }
                ["--test" | "--bench", name] => {
                    assert!(manifest.contains(&format!("name = \"{name}\"")), "{code}")
                }
                [file, "/etc/systemd/system/" | "/usr/lib/tmpfiles.d/"] => {
                    let directory = root.join(file).parent().unwrap().to_path_buf();
                    let end = file.rsplit_once(['*', '/']).unwrap().1;
                    let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
                    assert!(names.into_iter().any(|name| name.to_string_lossy().ends_with(end)), "{code}");
                }
                _ => continue,
            }
            found += 1;
        }
    }
    assert!(found >= 5, "{found}");
}

/// The first command prints what is shown, but for the numbers.
fn first_screen() {
    let text = readme();
    let (command, rest) = text.split_once("```console\n$ ").unwrap().1.split_once('\n').unwrap();
    let (shown, _) = rest.split_once("```").unwrap();
    let output = finish(cgprocfs().args(arguments(command).unwrap()).env("LC_ALL", "C"));
    assert!(output.status.success(), "{}", output.status);
    let printed = [output.stdout, output.stderr].map(|said| String::from_utf8(said).unwrap()).concat();
    assert_eq!(shape(&printed), shape(shown), "{printed}");
    assert!(printed.contains("256 "), "{printed}");
}

/// The README's run whose program asks the kernel ends as it shows.
fn system_calls() {
    let text = readme();
    let (_, block) = text.split_once("<!-- run: documentation::system_calls -->\n```console\n$ ").unwrap();
    let (command, rest) = block.split_once('\n').unwrap();
    let (shown, _) = rest.split_once("```").unwrap();
    let directory = cgprocfs_path().parent().unwrap().display().to_string();
    let script = format!("PATH={directory}:$PATH; {command}");
    let printed = output(Command::new("sh").args(["-c", &script]));
    assert_eq!(shape(&printed), shape(shown), "{printed}");
    let processors = std::thread::available_parallelism().unwrap().get().min(2);
    assert!(printed.contains(" 256 ") && printed.ends_with(&format!("\n{processors}\n")), "{printed}");
}

/// Words, and a mark in the place of each number.
fn shape(text: &str) -> Vec<Vec<String>> {
    let word = |word: &str| {
        let plain = word.trim_matches(|c: char| !c.is_ascii_digit());
        if plain.parse::<f64>().is_ok() { word.replace(plain, "#") } else { word.to_string() }
    };
    text.lines().map(|line| line.split_whitespace().map(word).collect()).collect()
}

/// `show` prints without a daemon, as the pages say.
fn show_needs_no_daemon() {
    let own = std::process::id().to_string();
    for words in [&["show"][..], &["show", "meminfo", "--pid", &own], &["show", "proc/uptime"]] {
        assert!(!output(cgprocfs().args(words)).is_empty(), "{words:?}");
    }
}
