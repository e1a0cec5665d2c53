//! What a run prints about memory, for people and for machines, on stderr: stdout is the program's.

use super::cgroup::RunCgroup;
use super::sample::Sample;
use cgprocfs_core::units::Bytes;
use serde::Serialize;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

/// What a program used; sizes in bytes.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    exit_code: Option<i32>,
    signal: Option<i32>,
    seconds: f64,
    /// The most memory that was ever charged, by the kernel's own record where it keeps one.
    peak: u64,
    /// Whether `peak` is only the largest of the samples.
    peak_is_sampled: bool,
    limit: Option<u64>,
    oom_kills: Option<u64>,
    /// The last sample while the program ran.
    last: Option<Sample>,
}

impl Report {
    pub(super) fn new(
        cgroup: &RunCgroup,
        status: &ExitStatus,
        elapsed: Duration,
        last: Option<Sample>,
        peak_seen: Bytes,
        limit: Option<Bytes>,
    ) -> Self {
        let peak = cgroup.peak();
        Self {
            exit_code: status.code(),
            signal: status.signal(),
            seconds: elapsed.as_secs_f64(),
            peak: peak.unwrap_or(peak_seen).get(),
            peak_is_sampled: peak.is_none(),
            limit: limit.map(Bytes::get),
            oom_kills: cgroup.oom_kills(),
            last,
        }
    }

    pub(super) fn print(&self, program: &str, json: bool) {
        if json {
            print_json(&Tagged { report: self });
            return;
        }
        let end = match (self.exit_code, self.signal) {
            (_, Some(signal)) => format!("was ended by signal {signal}"),
            (code, None) => format!("ended with status {}", code.unwrap_or_default()),
        };
        say(format_args!("cgprocfs: {program} {end} after {:.3} s", self.seconds));
        let at_least = if self.peak_is_sampled { "at least " } else { "" };
        let limit = self.limit.map_or("no limit".into(), mib);
        say(format_args!("  peak         {at_least}{} of {limit}", mib(self.peak)));
        if let Some(last) = &self.last {
            say(format_args!(
                "  working set  {} (usage {}: anon {}, file {}, kernel {}), {:.0} ms before the end",
                mib(last.working_set),
                mib(last.usage),
                mib(last.anon),
                mib(last.file),
                mib(last.kernel),
                (self.seconds - last.seconds).max(0.0) * 1000.0,
            ));
        }
        let kills = self.oom_kills.map_or("unknown".into(), |kills| kills.to_string());
        say(format_args!("  OOM kills    {kills}"));
    }
}

#[derive(Serialize)]
struct Tagged<'a> {
    report: &'a Report,
}

#[derive(Serialize)]
struct TaggedSample<'a> {
    sample: &'a Sample,
}

/// One line about a moment.
pub(super) fn print_sample(sample: &Sample, json: bool) {
    if json {
        print_json(&TaggedSample { sample });
        return;
    }
    say(format_args!(
        "{:8.1} s  working set {:>11}  usage {:>11}  anon {:>11}  file {:>11}  kernel {:>11}",
        sample.seconds,
        mib(sample.working_set),
        mib(sample.usage),
        mib(sample.anon),
        mib(sample.file),
        mib(sample.kernel)
    ));
}

fn print_json(value: &impl Serialize) {
    match serde_json::to_string(value) {
        Ok(line) => eprintln!("{line}"),
        Err(error) => log::error!("cannot write the report as JSON: {error}"),
    }
}

/// One line on stderr. Nobody may be there to read it any more; the program's exit status is passed on all
/// the same.
fn say(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// In mebibytes with one decimal.
fn mib(bytes: u64) -> String {
    let tenths = (bytes * 10).div_ceil(1 << 20);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::mib;

    #[test]
    fn mebibytes_for_people() {
        assert_eq!(mib(0), "0.0 MiB");
        assert_eq!(mib(1), "0.1 MiB");
        assert_eq!(mib(256 << 20), "256.0 MiB");
        assert_eq!(mib(cgprocfs_core::units::MAX), "8589934592.0 MiB");
    }
}
