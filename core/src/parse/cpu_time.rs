//! How long the processes of a cgroup have run: `cpu.stat` of cgroup v2, `cpuacct.usage` and `cpuacct.stat` of v1.

use super::flat_keyed::flat_keyed;
use super::{ParseError, count, without_newline};
use crate::cpu::CpuTime;
use crate::machine::{TickRate, Ticks};

/// A time, and the keys of its parts that are malformed. Such a part is taken to be what the other leaves of the whole.
pub type Read = (CpuTime, Vec<&'static str>);

const MICROSECOND: u64 = 1000;

/// Reads `cpu.stat`.
///
/// # Errors
/// Where the whole is malformed or missing, or the text is cut short.
pub fn v2(text: &[u8]) -> Result<Read, ParseError> {
    const WHOLE: &str = "usage_usec";
    let total = match value(text, WHOLE)? {
        Value::Count(total) => total.saturating_mul(MICROSECOND),
        Value::Odd => return Err(ParseError::NotANumber),
        Value::Missing => return Err(ParseError::Missing(WHOLE)),
    };
    parts(total, MICROSECOND, text, ["user_usec", "system_usec"])
}

/// Reads `cpuacct.usage`, in nanoseconds.
///
/// # Errors
/// Where the text is anything but one number, or the counter has wrapped.
pub fn v1_total(text: &[u8]) -> Result<u64, ParseError> {
    count(without_newline(text)?).ok_or(ParseError::NotANumber)
}

/// Reads `cpuacct.stat` beside the whole of `cpuacct.usage`, in nanoseconds.
///
/// # Errors
/// Where the text is cut short.
pub fn v1(total: u64, text: &[u8], rate: TickRate) -> Result<Read, ParseError> {
    parts(total, rate.nanoseconds(Ticks::new(1)), text, ["user", "system"])
}

enum Value {
    Count(u64),
    Odd,
    Missing,
}

fn value(text: &[u8], key: &str) -> Result<Value, ParseError> {
    let found = flat_keyed(text)?.find(|(found, _)| *found == key.as_bytes());
    Ok(found.map_or(Value::Missing, |(_, value)| count(value).map_or(Value::Odd, Value::Count)))
}

/// Reads the parts, whose unit is given in nanoseconds.
fn parts(total: u64, unit: u64, text: &[u8], keys: [&'static str; 2]) -> Result<Read, ParseError> {
    let mut odd = Vec::new();
    let mut known = [None; 2];
    for (known, key) in known.iter_mut().zip(keys) {
        match value(text, key)? {
            Value::Count(count) => *known = Some(count),
            Value::Odd => odd.push(key),
            Value::Missing => {}
        }
    }
    let rest = |other: Option<u64>| other.map_or(0, |other| (total / unit.max(1)).saturating_sub(other));
    let [user, system] =
        [known[0].unwrap_or_else(|| rest(known[1])), known[1].unwrap_or_else(|| rest(known[0]))];
    Ok((CpuTime { total, user, system }, odd))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions() {
        let text = b"usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods -1\n";
        assert_eq!(v2(text), Ok((CpuTime { total: 30_000, user: 20, system: 10 }, vec![])));
        let read = v1(300_000_000, b"user 21\nsystem 11\n", TickRate::USUAL);
        assert_eq!(read, Ok((CpuTime { total: 300_000_000, user: 21, system: 11 }, vec![])));
    }

    #[test]
    fn the_whole_must_make_sense() {
        for whole in ["usage_usec -4\n", "usage_usec 18446744073709551611\n", "usage_usec\n", ""] {
            assert!(v2(format!("{whole}user_usec 1\nsystem_usec 1\n").as_bytes()).is_err(), "{whole}");
        }
        assert_eq!(v1_total(b"30\n"), Ok(30));
        assert_eq!(v1_total(b"18446744073709551611\n"), Err(ParseError::NotANumber));
        assert_eq!(v1_total(b"30"), Err(ParseError::Truncated));
        assert_eq!(v2(b"usage_usec 30\nuser_usec 2"), Err(ParseError::Truncated));
    }

    #[test]
    fn a_part_that_makes_none_is_what_the_other_leaves() {
        let v2 = |user, system| {
            let (time, odd) =
                v2(format!("usage_usec 30\nuser_usec {user}\nsystem_usec {system}\n").as_bytes()).unwrap();
            (time.user, time.system, odd)
        };
        assert_eq!(v2("-4", "10"), (20, 10, vec!["user_usec"]));
        assert_eq!(v2("20", "18446744073709551611"), (20, 10, vec!["system_usec"]));
        assert_eq!(v2("x", "40"), (0, 40, vec!["user_usec"]));
        assert_eq!(v2("x", ""), (0, 0, vec!["user_usec", "system_usec"]));
        let (time, odd) = v1(300_000_000, b"user -1\nsystem 11\n", TickRate::USUAL).unwrap();
        assert_eq!((time.user, time.system, odd), (19, 11, vec!["user"]));
    }
}
