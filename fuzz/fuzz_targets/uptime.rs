//! `/proc/uptime`: what was understood is what the text begins with.
#![no_main]

use cgprocfs_core::parse::uptime::Uptime;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let Ok(uptime) = Uptime::parse(text) else { return };
    let hundredths = uptime.now.as_hundredths();
    let first = text.split(|&b| b == b' ' || b == b'\n').next().unwrap_or_default();
    let digits = std::str::from_utf8(first).unwrap().trim_start_matches('0');
    assert_eq!(digits, format!("{}.{:02}", hundredths / 100, hundredths % 100).trim_start_matches('0'));
});
