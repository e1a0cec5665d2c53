//! How long the processes of a cgroup have run: `cpu.stat` of cgroup v2, `cpuacct.stat` of v1 beside
//! `cpuacct.usage`.

use super::flat_keyed::flat_keyed;
use super::{ParseError, count};
use crate::time::{Nanos, TickRate, Ticks};

/// How long processors have run a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuTime {
    /// The whole time, as the scheduler has measured it.
    pub total: Nanos,
    /// The part spent in its programs. This and [`system`](Self::system) may be counted by clock ticks, in a
    /// unit of their own, and do not add up to the whole then: only their ratio means something.
    pub user: u64,
    /// The part spent in the kernel on their behalf.
    pub system: u64,
}

/// What is read from the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuStat {
    /// How long they have run.
    pub time: CpuTime,
    /// The keys of parts that are malformed. Such a part is taken to be what the other leaves of the whole.
    pub malformed: Vec<&'static str>,
}

impl CpuStat {
    /// Parses `cpu.stat`.
    ///
    /// # Errors
    /// Where the whole is malformed or missing, or the text is cut short.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        const WHOLE: &str = "usage_usec";
        let total = match value(text, WHOLE)? {
            Value::Count(total) => Nanos::from_micros(total),
            Value::Malformed => return Err(ParseError::NotANumber),
            Value::Missing => return Err(ParseError::Missing(WHOLE)),
        };
        Self::of_parts(total, Nanos::from_micros(1), text, ["user_usec", "system_usec"])
    }

    /// Parses `cpuacct.stat` beside the whole of `cpuacct.usage`.
    ///
    /// # Errors
    /// Where the text is cut short.
    pub fn parse_v1(total: Nanos, text: &[u8], rate: TickRate) -> Result<Self, ParseError> {
        Self::of_parts(total, rate.length_of(Ticks::new(1)), text, ["user", "system"])
    }

    /// Parses the parts, which are counted in a unit of that length.
    fn of_parts(total: Nanos, unit: Nanos, text: &[u8], keys: [&'static str; 2]) -> Result<Self, ParseError> {
        let mut malformed = Vec::new();
        let mut known = [None; 2];
        for (known, key) in known.iter_mut().zip(keys) {
            match value(text, key)? {
                Value::Count(count) => *known = Some(count),
                Value::Malformed => malformed.push(key),
                Value::Missing => {}
            }
        }
        let rest = |other: Option<u64>| {
            other.map_or(0, |other| (total.get() / unit.get().max(1)).saturating_sub(other))
        };
        let [user, system] =
            [known[0].unwrap_or_else(|| rest(known[1])), known[1].unwrap_or_else(|| rest(known[0]))];
        Ok(Self { time: CpuTime { total, user, system }, malformed })
    }
}

enum Value {
    Count(u64),
    Malformed,
    Missing,
}

fn value(text: &[u8], key: &str) -> Result<Value, ParseError> {
    let found = flat_keyed(text)?.find(|(found, _)| *found == key.as_bytes());
    Ok(found.map_or(Value::Missing, |(_, value)| count(value).map_or(Value::Malformed, Value::Count)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions() {
        let text = b"usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods -1\n";
        let stat = |total, user, system| {
            let time = CpuTime { total: Nanos::from_micros(total), user, system };
            Ok(CpuStat { time, malformed: vec![] })
        };
        assert_eq!(CpuStat::parse(text), stat(30, 20, 10));
        let read = CpuStat::parse_v1(Nanos::from_micros(300_000), b"user 21\nsystem 11\n", TickRate::USUAL);
        assert_eq!(read, stat(300_000, 21, 11));
    }

    #[test]
    fn the_whole_must_make_sense() {
        for whole in ["usage_usec -4\n", "usage_usec 18446744073709551611\n", "usage_usec\n", ""] {
            assert!(
                CpuStat::parse(format!("{whole}user_usec 1\nsystem_usec 1\n").as_bytes()).is_err(),
                "{whole}"
            );
        }
        assert_eq!(CpuStat::parse(b"usage_usec 30\nuser_usec 2"), Err(ParseError::Truncated));
    }

    #[test]
    fn a_part_that_makes_none_is_what_the_other_leaves() {
        let v2 = |user, system| {
            let text = format!("usage_usec 30\nuser_usec {user}\nsystem_usec {system}\n");
            let CpuStat { time, malformed } = CpuStat::parse(text.as_bytes()).unwrap();
            (time.user, time.system, malformed)
        };
        assert_eq!(v2("-4", "10"), (20, 10, vec!["user_usec"]));
        assert_eq!(v2("20", "18446744073709551611"), (20, 10, vec!["system_usec"]));
        assert_eq!(v2("x", "40"), (0, 40, vec!["user_usec"]));
        assert_eq!(v2("x", ""), (0, 0, vec!["user_usec", "system_usec"]));
        let read = CpuStat::parse_v1(Nanos::from_micros(300_000), b"user -1\nsystem 11\n", TickRate::USUAL);
        let CpuStat { time, malformed } = read.unwrap();
        assert_eq!((time.user, time.system, malformed), (19, 11, vec!["user"]));
    }
}
