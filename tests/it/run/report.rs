//! What a run reports of its program.

use super::{finish, hog, run_command, stderr};
use crate::common::{MOUNT, field, output, test};
use libtest_mimic::Trial;
use serde_json::Value;
use std::fs;
use std::io::Read;
use std::process::{Command, Output, Stdio};

pub fn tests() -> Vec<Trial> {
    tests! {
        test(MOUNT) => [
            report_for_people,
            report_for_machines,
            numbers_while_it_runs,
            oom_kill_is_counted,
            oom_kill_in_a_cgroup_below_is_counted,
            nobody_reads_the_report,
        ],
    }
}

/// The last line of stderr as JSON, and there the report.
fn report(output: &Output) -> Value {
    let text = stderr(output);
    let line: Value =
        serde_json::from_str(text.lines().last().unwrap()).unwrap_or_else(|e| panic!("{e}: {text}"));
    line["report"].clone()
}

fn with<'a>(options: &[&'a str], program: &'a [String]) -> Vec<&'a str> {
    options.iter().copied().chain(["--"]).chain(program.iter().map(String::as_str)).collect()
}

/// The report has peak, working set and kills.
fn report_for_people() {
    let text = stderr(&finish(&["--memory", "64M", "--", "sh", "-c", "exit 3"]));
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("cgprocfs: sh ended with status 3 after "), "{text}");
    assert!(lines[1].starts_with("  peak ") && lines[1].ends_with(" of 64.0 MiB"), "{text}");
    assert!(lines[2].contains("anon") && lines[2].contains("file") && lines[2].contains("kernel"), "{text}");
    assert_eq!(lines[3], "  OOM kills    0", "{text}");
}

/// With `--json` it is one object in one line.
fn report_for_machines() {
    let program = hog("30");
    let output = finish(&with(&["--json", "--memory", "64M"], &program));
    let report = report(&output);
    let mib = |key: &str| report[key].as_u64().unwrap() >> 20;
    assert_eq!(report["exit_code"], 0, "{report}");
    assert_eq!(mib("limit"), 64);
    assert_eq!(report["oom_kills"], 0);
    assert!((30..40).contains(&mib("peak")), "{report}");
    let last = &report["last"];
    let part = |key: &str| last[key].as_u64().unwrap();
    assert!(part("working_set") <= part("usage"));
    assert!(report["seconds"].as_f64().unwrap() >= last["seconds"].as_f64().unwrap());
}

/// With `--refresh` there is a line each time.
fn numbers_while_it_runs() {
    let program = hog("30");
    let start = std::time::Instant::now();
    let mut command = run_command(&with(&["--json", "--refresh", "50ms"], &program));
    let mut process =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    process.stdout.as_mut().unwrap().read_exact(&mut [0; 6]).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    drop(process.stdin.take());
    let output = process.wait_with_output().unwrap();
    let most = usize::try_from(start.elapsed().as_millis() / 50).unwrap() + 2;
    let text = stderr(&output);
    let samples: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let samples: Vec<&Value> = samples.iter().map(|line| &line["sample"]).filter(|s| s.is_object()).collect();
    assert!((5..=most).contains(&samples.len()), "{} samples, one each 50 ms, at most {most}", samples.len());
    let last = samples.last().unwrap();
    assert!(last["anon"].as_u64().unwrap() >= 30 << 20, "{last}");
    assert!(last["working_set"].as_u64().unwrap() >= 30 << 20, "{last}");
    let people = finish(&["--refresh", "20ms", "--", "sleep", "0.2"]);
    assert!(
        stderr(&people).lines().filter(|line| line.contains("working set") && line.contains(" s ")).count()
            >= 3
    );
}

/// A program that is killed for want of memory is reported as such.
fn oom_kill_is_counted() {
    let swap = field(&fs::read_to_string("/proc/meminfo").unwrap(), "SwapTotal") >> 10;
    let program = hog(&(64 + swap).to_string());
    let output = finish(&with(&["--json", "--memory", "32M"], &program));
    assert_eq!(output.status.code(), Some(137));
    let report = report(&output);
    assert_eq!((&report["oom_kills"], &report["signal"]), (&Value::from(1), &Value::from(9)), "{report}");
    assert_eq!(report["peak"], 32 << 20);
}

/// So is one in a cgroup that the program has made, which the kernel does not count for the one above on
/// cgroup v1.
fn oom_kill_in_a_cgroup_below_is_counted() {
    let swap = field(&fs::read_to_string("/proc/meminfo").unwrap(), "SwapTotal") >> 10;
    let script = "own=$(sed -n 's/^[0-9]*:memory://p' /proc/self/cgroup); top=/sys/fs/cgroup/memory; \
                  [ -n \"$own\" ] || { own=$(sed -n 's/^0:://p' /proc/self/cgroup); top=/sys/fs/cgroup; }; \
                  mkdir $top$own/inner && echo $$ > $top$own/inner/cgroup.procs && exec \"$0\" \"$@\"";
    let program: Vec<String> = ["sh", "-c", script].map(str::to_string).into();
    let program = [program, hog(&(64 + swap).to_string())].concat();
    let output = finish(&with(&["--json", "--memory", "32M"], &program));
    assert_eq!(output.status.code(), Some(137), "{}", stderr(&output));
    assert_eq!(report(&output)["oom_kills"], Value::from(1));
}

/// The exit status is the program's even if stderr is a closed pipe.
fn nobody_reads_the_report() {
    let script = "exec \"$0\" run --refresh 10ms -- sh -c 'sleep 0.1; exit 7' 2>&1 >/dev/null | true; echo ${PIPESTATUS[0]}";
    let status = output(Command::new("bash").args(["-c", script]).arg(crate::common::cgprocfs_path()));
    assert_eq!(status, "7\n");
}
