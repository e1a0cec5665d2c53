//! The tests of the real kernel once more, on other kernels: cgroup v2, v1 and hybrid, in guests under
//! software emulation. `CGPROCFS_VM=all` runs all of them; by default it is one that most hosts are like, and
//! some with one thing to show. With `UPDATE_DOCS=1` the documentation's table of what they proved is written
//! anew.

mod guests;
mod table;

use self::guests::Guest;
use libtest_mimic::{Completion, Conclusion, Failed, Trial};
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError, RwLock};

/// What runs in a guest: these modules.
static TESTS: [&str; 7] = ["oracle", "response", "mount", "identity", "run", "cli", "hostile"];
/// So many of these, from the start, are about memory.
const ABOUT_MEMORY: usize = 2;

/// Kernel, layout of cgroups, swap, and MGLRU, which 6.12 has on by default and 6.1 off.
const GUESTS: [[&str; 4]; 10] = [
    ["6.12", "v2", "no", "7"],
    ["6.1", "v2", "no", "0"],
    ["6.12", "v2", "no", "0"],
    ["6.1", "hybrid", "no", "0"],
    ["6.1", "v1", "no", "0"],
    ["6.1", "v2", "yes", "0"],
    ["6.12", "v2", "yes", "7"],
    ["6.12", "v2", "yes", "0"],
    ["6.1", "hybrid", "yes", "0"],
    ["6.1", "v1", "yes", "0"],
];
/// What is run without `CGPROCFS_VM=all`, in a few minutes: the guest that most hosts are like, with what
/// depends most on the kernel, and some of those that have one thing to show.
const BY_DEFAULT: usize = 1;
const TESTS_BY_DEFAULT: [&str; 3] = ["oracle", "response", "identity"];

pub fn tests() -> Vec<Trial> {
    let all = runs_all();
    let guests = if all { &GUESTS[..] } else { &GUESTS[..BY_DEFAULT] };
    let trial = |(place, &[kernel, layout, swap, lru]): (usize, &[&'static str; 4])| {
        let name = format!(
            "vm::linux_{kernel}_{layout}_swap_{swap}_mglru_{}",
            if lru == "0" { "off" } else { "on" }
        );
        Trial::ignorable_test(name, move || match missing() {
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None => {
                let said = boot(kernel, modules(all, kernel, swap, lru), &options(layout, swap, lru))?;
                hold_to(&said, guests::of_matrix(swap == "yes"))?;
                if swap == "yes" && layout != "v2" {
                    hold_to(&said, guests::WITH_SWAP_ON_V1)?;
                }
                table::note(place, said);
                Ok(Completion::Completed)
            }
        })
    };
    let of_matrix = guests.iter().enumerate().map(trial);
    let others = guests::GUESTS.iter().enumerate().map(|(place, guest)| {
        let trial = Trial::ignorable_test(guest.name, move || match missing() {
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None => boot_other(guest).map(|()| Completion::Completed),
        });
        trial.with_ignored_flag(!all && place >= guests::BY_DEFAULT)
    });
    let mut trials: Vec<Trial> = others.chain(of_matrix).collect();
    trials.push(Trial::test("vm::a_failed_guest_counts_once", a_failed_guest_counts_once));
    trials
}

fn boot_other(guest: &Guest) -> Result<(), Failed> {
    let more = guest.options.iter().map(|option| (*option).to_string());
    let options: Vec<_> = options(guest.layout, "no", "0").into_iter().chain(more).collect();
    let crashed = |failed: &Failed| failed.message().is_some_and(|said| said.contains("Kernel panic"));
    let said = match boot(guest.kernel, guest.tests, &options) {
        Err(failed) if crashed(&failed) => boot(guest.kernel, guest.tests, &options)?,
        booted => booted?,
    };
    hold_to(&said, guest.shows)
}

/// That these tests have passed in a guest in which none has failed: one that was left out has shown nothing.
fn hold_to(said: &str, shows: &[&str]) -> Result<(), Failed> {
    let ran = |name: &str| {
        said.lines().any(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            words.starts_with(&["test", name]) && !line.contains("ignored")
        })
    };
    match shows.iter().find(|name| !ran(name)) {
        Some(name) => Err(format!("{name} was left out in the guest that is to show it").into()),
        None => Ok(()),
    }
}

fn runs_all() -> bool {
    std::env::var("CGPROCFS_VM").is_ok_and(|which| which == "all")
}

/// Writes the table, if that is wanted and all have passed.
pub fn end(conclusion: &Conclusion) {
    let all_passed = conclusion.num_failed + conclusion.num_ignored + conclusion.num_filtered_out == 0;
    if runs_all() && all_passed && std::env::var_os("UPDATE_DOCS").is_some() {
        table::write(&TESTS);
    }
}

fn missing() -> Option<String> {
    if std::env::var_os("CGPROCFS").is_some() {
        return Some("is for the host".into());
    }
    let lacks = |program: &&str| {
        let found = Command::new("sh").args(["-c", "command -v \"$0\" >/dev/null", program]).status();
        !found.is_ok_and(|status| status.success())
    };
    let programs = ["qemu-system-x86_64", "cpio", "busybox", "apt-get", "dpkg-deb", "xz", "strip"];
    programs.iter().find(|program| lacks(program)).map(|program| format!("needs the program {program}"))
}

/// To the last ones neither swap nor how the kernel ages pages makes a difference.
fn modules(all: bool, kernel: &str, swap: &str, lru: &str) -> &'static [&'static str] {
    if !all {
        return &TESTS_BY_DEFAULT;
    }
    if swap == "yes" || (kernel == "6.12" && lru == "0") { &TESTS[..ABOUT_MEMORY] } else { &TESTS }
}

/// What the guest's init is to set up.
fn options(layout: &str, swap: &str, lru: &str) -> [String; 3] {
    [format!("guest.layout={layout}"), format!("guest.swap={swap}"), format!("guest.lru={lru}")]
}

/// Runs test programs in a guest. Options that are not its init's are the kernel's.
fn boot(kernel: &str, tests: &[&str], options: &[String]) -> Result<String, Failed> {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vm");
    let work = Path::new(env!("CARGO_TARGET_TMPDIR")).join("vm");
    let kernels = work.join("kernels");
    static FETCHED: Mutex<()> = Mutex::new(());
    {
        let _one_at_a_time = FETCHED.lock().unwrap_or_else(PoisonError::into_inner);
        run(Command::new(scripts.join("kernels")).arg(&kernels))?;
    }
    let kernel = kernels.join(kernel);
    // Two runs at once must not write to one file.
    let initramfs = tempfile::NamedTempFile::new_in(&work)?;
    let mut make = Command::new(scripts.join("initramfs"));
    make.arg(initramfs.path()).arg(&kernel).arg(env!("CARGO_BIN_EXE_cgprocfs"));
    run(make.arg(std::env::current_exe()?))?;
    // What has to be done in a given time, however busy the guest is, is done beside no other guest.
    static MACHINE: RwLock<()> = RwLock::new(());
    let is_timed = tests.iter().any(|test| ["isolation", "survival"].contains(test));
    let _alone = is_timed.then(|| MACHINE.write().unwrap_or_else(PoisonError::into_inner));
    let _beside_others = (!is_timed).then(|| MACHINE.read().unwrap_or_else(PoisonError::into_inner));
    let mut boot = Command::new(scripts.join("boot"));
    let said = run(boot
        .arg(&kernel)
        .arg(initramfs.path())
        .arg(if runs_all() { "2700" } else { "900" })
        .args(options)
        .arg(format!("guest.tests={}", tests.join(","))))?;
    let figures = said.lines().filter(|line| {
        [
            "guest: ",
            "test result: ",
            "oracle: ",
            "response: ",
            "hostile: ",
            "survival: ",
            "isolation: ",
            "cpusets: ",
            "processors: ",
        ]
        .iter()
        .any(|sign| line.starts_with(sign))
    });
    println!("{}", figures.collect::<Vec<_>>().join("\n"));
    match passed_in(&said) {
        0 => {
            Err("no test has passed in the guest: it lacks what they need, or there is none of that name"
                .into())
        }
        _ => Ok(said),
    }
}

/// How many tests passed in a guest.
fn passed_in(said: &str) -> usize {
    let results = said.lines().filter(|line| line.starts_with("test result: "));
    let passed = |line: &str| line.split(" passed").next()?.rsplit(' ').next()?.parse::<usize>().ok();
    results.filter_map(passed).sum()
}

/// Runs a script and returns what it printed; if it fails, that from the first failure on is the error. It is
/// indented: whoever adds up all results should not count what failed in a guest, and then the guest.
fn run(command: &mut Command) -> Result<String, Failed> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let from = ["panicked at", "FAILED", "Kernel panic"].iter().filter_map(|sign| text.find(sign)).min();
    let from = text[..from.unwrap_or(0)].rfind('\n').unwrap_or(0);
    let text = text[from..].trim_start_matches('\n').replace('\n', "\n  ");
    Err(format!("{}: {}\n  {text}", command.get_program().to_string_lossy(), output.status).into())
}

fn a_failed_guest_counts_once() -> Result<(), Failed> {
    const SCRIPT: &str = "echo 'thread panicked at'; echo 'test result: FAILED. 2 passed; 1 failed'; exit 1";
    let failed = run(Command::new("sh").args(["-c", SCRIPT])).err().ok_or("it has to fail")?;
    let message = failed.message().unwrap_or_default();
    assert!(message.contains("  test result: ") && !message.contains("\ntest result: "), "{message}");
    assert_eq!(
        passed_in("test result: ok. 12 passed; 0 failed\nx\ntest result: ok. 3 passed; 1 failed\n"),
        15
    );
    let said = "test a::b ... \u{1b}[32mok\ntest c ... ignored\ntest d ... what it says\nok\n";
    assert!(hold_to(said, &["a::b", "d"]).is_ok());
    assert!(hold_to(said, &["a::b", "c"]).is_err() && hold_to(said, &["a"]).is_err());
    assert_eq!(passed_in("running 0 tests\ntest result: ok. 0 passed; 0 failed; 7 ignored\n"), 0);
    Ok(())
}
