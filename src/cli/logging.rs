//! The log goes to stderr. Under systemd each line begins with the journal's level (sd-daemon(3)).

use crate::rate_limited_log::RateLimitedLog;
use log::Level;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::panic::PanicHookInfo;

/// Starts the log at the level that `RUST_LOG` says, else at `info`.
pub(super) fn start() {
    let to_journal = stderr_is_journal();
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info"))
        // What fuser says on its own is about requests that went away, which is a reader's business.
        .filter_module("fuser", log::LevelFilter::Error)
        .format(move |line, record| match to_journal {
            true => writeln!(line, "<{}>{}", journal_level(record.level()), record.args()),
            false => writeln!(line, "cgprocfs: {}", record.args()),
        })
        .init();
    std::panic::set_hook(Box::new(log_panic));
}

/// A defect is one line, and a reader that runs into it again and again can't fill the log.
fn log_panic(panic: &PanicHookInfo<'_>) {
    static LIMIT: RateLimitedLog = RateLimitedLog::new();
    let place = panic.location().map_or_else(String::new, |at| format!(" at {}:{}", at.file(), at.line()));
    let payload = panic.payload();
    let what =
        payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
    let what = what.unwrap_or("panic");
    LIMIT.message("panic", Level::Error, format_args!("defect{place}: {what}; please report it"));
}

/// `JOURNAL_STREAM` names the device and inode of the journal's socket (systemd.exec(5)).
fn stderr_is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let stderr = std::fs::metadata("/proc/self/fd/2");
    stderr.is_ok_and(|stderr| stream == format!("{}:{}", stderr.dev(), stderr.ino()))
}

const fn journal_level(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}
