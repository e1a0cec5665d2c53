//! `memory.numa_stat`, against a look for the one node.
#![no_main]

use cgprocfs_core::parse::numa_stat::NumaStat;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let Ok(stat) = NumaStat::parse(text) else { return };
    let Some(anon) = stat.get("anon") else { return };
    let line = text
        .split(|&b| b == b'\n')
        .find(|line| line.split(|&b| b == b' ' || b == b'=').next().is_some_and(|key| key == b"anon"));
    let line = String::from_utf8_lossy(line.unwrap());
    for (node, amount) in anon {
        let is_it = |word: &str| {
            let (name, value) = word.strip_prefix('N')?.split_once('=')?;
            let is_count = value.bytes().all(|byte| byte.is_ascii_digit()) && value.parse::<i64>().is_ok();
            // What is no count is 0.
            let shown = if is_count { value.parse() } else { Ok(0) };
            Some(name.parse() == Ok(*node) && shown == Ok(*amount))
        };
        assert!(line.split(' ').any(|word| is_it(word) == Some(true)), "{line}: {node}={amount}");
    }
});
