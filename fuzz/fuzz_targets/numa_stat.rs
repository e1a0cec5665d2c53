//! `memory.numa_stat`, against a look for the one node.
#![no_main]

use cgprocfs_core::parse::numa_stat::NumaStat;
use cgprocfs_core::units::MAX;
use libfuzzer_sys::fuzz_target;

/// What makes no sense is 0.
fn amount(value: &str) -> u64 {
    let is_number = value.bytes().all(|byte| byte.is_ascii_digit());
    value.parse().ok().filter(|amount| is_number && *amount <= MAX).unwrap_or(0)
}

fuzz_target!(|text: &[u8]| {
    let Ok(stat) = NumaStat::parse(text) else { return };
    let Some(anon) = stat.get("anon") else { return };
    let line = text
        .split(|&b| b == b'\n')
        .find(|line| line.split(|&b| b == b' ' || b == b'=').next().is_some_and(|key| key == b"anon"));
    let line = String::from_utf8_lossy(line.unwrap());
    for (node, shown) in anon {
        let is_it = |word: &str| {
            let (name, value) = word.strip_prefix('N')?.split_once('=')?;
            Some(name.parse() == Ok(*node) && amount(value) == *shown)
        };
        assert!(line.split(' ').any(|word| is_it(word) == Some(true)), "{line:?}: {node}={shown}");
    }
});
