//! free, top, vmstat and ps.

use super::{ANON, Container, LIMIT, MIB, SHMEM, cache, close, kib, line, parsed};
use crate::common::{Need, field, test};
use libtest_mimic::Trial;
use std::collections::HashMap;

pub fn tests() -> Vec<Trial> {
    tests! {
        test(PROCPS) => [
            free,
            top,
            vmstat,
            ps_percent_of_memory,
        ],
    }
}

const PROCPS: &[Need] =
    &[Need::Root, Need::Fuse, Need::Program("free"), Need::Program("top"), Need::Program("vmstat")];

/// Numbers that are not negative, for they would not parse, nor above the limit.
#[track_caller]
fn numbers(line: &str) -> Vec<u64> {
    let numbers: Vec<u64> = line.split_whitespace().map(|word| parsed(word, line)).collect();
    assert!(numbers.iter().all(|number| *number <= LIMIT), "{line}");
    numbers
}

/// free shows total, used, cache and available memory as they are in the file.
fn free() {
    let container = Container::start();
    for (option, unit) in [("-k", 1), ("-b", 1 << 10)] {
        let (file, text) = container.file_and_output(&["free", option]);
        let amounts = |start| {
            let words = line(&text, start).split_whitespace();
            words.map(|word| parsed::<u64>(word, &text) / unit).collect::<Vec<_>>()
        };
        let [total, used, free, shared, cached, available] = amounts("Mem:")[..] else { panic!("{text}") };
        assert_eq!(total, LIMIT, "{text}");
        assert_eq!(used, total - available, "{text}");
        assert!(free <= available && available <= total - ANON - SHMEM, "{text}");
        close("free", free, field(&file, "MemFree"));
        close("shared", shared, field(&file, "Shmem"));
        close("buff/cache", cached, field(&file, "Buffers") + cache(&file));
        close("available", available, field(&file, "MemAvailable"));
        let swap = amounts("Swap:");
        assert_eq!(swap[0], field(&file, "SwapTotal"), "{text}");
        assert_eq!(swap[0], swap[1] + swap[2], "{text}");
    }
    let (file, text) = container.file_and_output(&["free", "-k", "--wide"]);
    let wide = numbers(line(&text, "Mem:"));
    assert_eq!(wide[4], field(&file, "Buffers"), "{text}");
    close("cache", wide[5], cache(&file));
}

/// The numbers of a line of top, in KiB, by the word that follows each.
fn summary(line: &str) -> HashMap<&str, u64> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let pairs = words.windows(2).filter_map(|pair| {
        let (mib, name) = (pair[0].parse::<f64>().ok()?, pair[1].trim_end_matches([',', '.']));
        assert!((0.0..=256.0).contains(&mib), "{line}");
        Some((name, kib(mib)))
    });
    pairs.collect()
}

/// top shows the same in its summary.
fn top() {
    let container = Container::start();
    let pid = container.actor.pid().to_string();
    let (file, text) = container.file_and_output(&["top", "-b", "-n", "1", "-w", "120", "-p", &pid]);
    let (memory, swap) = (summary(line(&text, "MiB Mem :")), summary(line(&text, "MiB Swap:")));
    assert_eq!(memory["total"], LIMIT, "{text}");
    close("free", memory["free"], field(&file, "MemFree"));
    close("used", memory["used"], LIMIT - field(&file, "MemAvailable"));
    close("buff/cache", memory["buff/cache"], field(&file, "Buffers") + cache(&file));
    close("avail", swap["avail"], field(&file, "MemAvailable"));
    assert!((memory["used"] + swap["avail"]).abs_diff(LIMIT) <= MIB / 4, "one moment: {text}");
    // The graph draws this as a part of its own.
    let other = (swap["used"] + swap["avail"]).checked_sub(memory["free"]);
    assert!(other.is_some(), "available and less than free: {text}");
    close("total swap", swap["total"], field(&file, "SwapTotal"));
    let row: Vec<&str> = text.lines().last().unwrap().split_whitespace().collect();
    assert_eq!(row[0], pid, "{text}");
    check_percent(&container, row[9]);
}

/// vmstat -s shows the same line by line.
fn vmstat() {
    let container = Container::start();
    let (file, text) = container.file_and_output(&["vmstat"]);
    let [_, names, values] = text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
    let shown: HashMap<_, u64> =
        names.split_whitespace().zip(values.split_whitespace().map(|word| parsed(word, &text))).collect();
    assert_eq!(shown["swpd"], field(&file, "SwapTotal") - field(&file, "SwapFree"), "{text}");
    assert_eq!(shown["buff"], field(&file, "Buffers"), "{text}");
    close("free", shown["free"], field(&file, "MemFree"));
    close("cache", shown["cache"], cache(&file));
    let (file, text) = container.file_and_output(&["vmstat", "--stats"]);
    let amount = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_suffix(&format!(" K {name}")));
        numbers(line.unwrap_or_else(|| panic!("no {name}: {text}")))[0]
    };
    assert_eq!(amount("total memory"), LIMIT);
    close("used memory", amount("used memory"), LIMIT - field(&file, "MemAvailable"));
    close("active memory", amount("active memory"), field(&file, "Active"));
    close("inactive memory", amount("inactive memory"), field(&file, "Inactive"));
    assert_eq!(amount("total swap"), field(&file, "SwapTotal"));
}

/// The actor's share of the limit, not of the host's memory.
#[track_caller]
fn check_percent(container: &Container, shown: &str) {
    let status = std::fs::read_to_string(format!("/proc/{}/status", container.actor.pid())).unwrap();
    let per_mille = field(&status, "VmRSS") * 1000 / LIMIT;
    let shown: u64 = parsed(&shown.replace('.', ""), shown);
    assert!((ANON * 1000 / LIMIT..300).contains(&shown), "{shown} ‰");
    assert!(shown.abs_diff(per_mille) <= 10, "shown {shown} ‰, expected {per_mille} ‰");
}

/// ps computes a program's share from the container's total.
fn ps_percent_of_memory() {
    let container = Container::start();
    let pid = container.actor.pid().to_string();
    check_percent(&container, container.output(&["ps", "-o", "pmem=", "-p", &pid]).trim());
}
