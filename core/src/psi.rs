//! Pressure triggers as the kernel defines them: an event when tasks were stalled for a given time within a
//! window (Documentation/accounting/psi.rst, kernel/sched/psi.c).

use crate::parse::{ParseError, decimal};
use std::time::{Duration, Instant};

/// What a program has asked to be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trigger {
    /// The line of the pressure file that is watched.
    pub line: Line,
    /// How long tasks have to be stalled within a window.
    pub threshold: Duration,
    /// The length of the window.
    pub window: Duration,
}

/// A line of a pressure file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// At least one task was stalled.
    Some,
    /// All tasks were stalled.
    Full,
}

/// `WINDOW_MIN_US`.
const MIN_WINDOW: Duration = Duration::from_millis(500);
/// `WINDOW_MAX_US`.
const MAX_WINDOW: Duration = Duration::from_secs(10);
/// How much of what is written the kernel reads.
const MAX_BYTES: usize = 32;

impl Trigger {
    /// Parses what a program writes, such as `some 150000 1000000` and a NUL or a newline. The last byte is
    /// ignored, whatever it is (`psi_write()`).
    ///
    /// # Errors
    /// Where the kernel answers EINVAL.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        let (_, text) = text[..text.len().min(MAX_BYTES)].split_last().ok_or(ParseError::Truncated)?;
        let text = text.split(|&b| b == 0 || b == b'\n').next().unwrap_or_default();
        let mut words = std::str::from_utf8(text).unwrap_or_default().split_ascii_whitespace();
        let line = match words.next() {
            Some("some") => Line::Some,
            Some("full") => Line::Full,
            _ => return Err(ParseError::MalformedLine),
        };
        let mut time = || {
            let micros = decimal(words.next().ok_or(ParseError::MalformedLine)?.as_bytes())?;
            Ok(Duration::from_micros(micros))
        };
        let (threshold, window) = (time()?, time()?);
        let is_valid =
            (MIN_WINDOW..=MAX_WINDOW).contains(&window) && threshold > Duration::ZERO && threshold <= window;
        is_valid.then_some(Self { line, threshold, window }).ok_or(ParseError::OutOfRange)
    }

    /// How long tasks were stalled in all according to the text of a pressure file.
    #[must_use]
    pub fn stalled(self, text: &[u8]) -> Option<Duration> {
        let name: &[u8] = match self.line {
            Line::Some => b"some ",
            Line::Full => b"full ",
        };
        let line = text.split(|&b| b == b'\n').find(|line| line.starts_with(name))?;
        let total = line.split(|&b| b == b' ').find_map(|word| word.strip_prefix(b"total="))?;
        std::str::from_utf8(total).ok()?.parse().ok().map(Duration::from_micros)
    }
}

/// The window of a trigger that is being watched.
#[derive(Debug, Clone)]
pub struct PsiWindow {
    trigger: Trigger,
    /// When the window began.
    start: Instant,
    /// How long tasks had been stalled by then.
    value: Duration,
    /// How long they were stalled in the window before.
    previous_growth: Duration,
    /// How long they had been stalled when that was last read.
    last_stalled: Duration,
    /// Whether an event waits for the window of the last one to end.
    is_pending: bool,
    last_event: Option<Instant>,
}

impl PsiWindow {
    /// A window that begins at `now`, when tasks had been stalled for `stalled` in all.
    #[must_use]
    pub const fn new(trigger: Trigger, now: Instant, stalled: Duration) -> Self {
        Self {
            trigger,
            start: now,
            value: stalled,
            previous_growth: Duration::ZERO,
            last_stalled: stalled,
            is_pending: false,
            last_event: None,
        }
    }

    /// Whether there is an event at `now`, when tasks have been stalled for `stalled` in all. There is at
    /// most one in each window (`update_triggers()`).
    pub fn update(&mut self, now: Instant, stalled: Duration) -> bool {
        let is_new = stalled != self.last_stalled;
        self.last_stalled = stalled;
        if !is_new && !self.is_pending {
            return false;
        }
        if is_new {
            let growth = self.growth(now, stalled);
            self.is_pending |= growth >= self.trigger.threshold;
        }
        let is_early =
            self.last_event.is_some_and(|last| now.saturating_duration_since(last) < self.trigger.window);
        if !self.is_pending || is_early {
            return false;
        }
        (self.is_pending, self.last_event) = (false, Some(now));
        true
    }

    /// How long tasks were stalled in the window that ends now: a part of the window before counts in
    /// proportion (`window_update()`).
    fn growth(&mut self, now: Instant, stalled: Duration) -> Duration {
        let window = self.trigger.window;
        let elapsed = now.saturating_duration_since(self.start);
        let growth = stalled.saturating_sub(self.value);
        if elapsed > window {
            (self.start, self.value, self.previous_growth) = (now, stalled, growth);
            return growth;
        }
        let part = self.previous_growth.as_nanos() * (window - elapsed).as_nanos() / window.as_nanos();
        growth.saturating_add(Duration::from_nanos(u64::try_from(part).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn what_programs_write() {
        let trigger = Trigger { line: Line::Some, threshold: ms(150), window: ms(1000) };
        for text in [
            "some 150000 1000000\0",
            "some 150000 1000000\n",
            "some  150000 1000000 x\0",
            "some 150000 10000000",
        ] {
            assert_eq!(Trigger::parse(text.as_bytes()), Ok(trigger), "{text:?}");
        }
        let full = Trigger::parse(b"full 500000 500000\n").map(|trigger| trigger.line);
        assert_eq!(full, Ok(Line::Full));
        for text in [
            "",
            "some\n",
            "some 1\n",
            "none 1 500000\n",
            "some 0 500000\n",
            "some 1 499999\n",
            "some 1 10000001\n",
            "some 500001 500000\n",
            "some -1 500000\n",
            "some 1 99999999999\n",
            "\u{e9}\n",
        ] {
            assert!(Trigger::parse(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_line_s_total() {
        let trigger = Trigger { line: Line::Full, threshold: ms(1), window: MIN_WINDOW };
        let text = b"some avg10=0.00 avg60=0.00 avg300=0.00 total=254707\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=94166\n";
        assert_eq!(trigger.stalled(text), Some(Duration::from_micros(94_166)));
        assert_eq!(trigger.stalled(b"some total=1\n"), None);
    }

    /// How many events there are in ten seconds when tasks are stalled for `stall` of every 100 ms.
    fn events(threshold: Duration, stall: Duration) -> usize {
        let trigger = Trigger { line: Line::Some, threshold, window: ms(1000) };
        let start = Instant::now();
        let mut window = PsiWindow::new(trigger, start, Duration::ZERO);
        (1..=100).filter(|&step| window.update(start + ms(100) * step, stall * step)).count()
    }

    #[test]
    fn one_event_a_window() {
        assert_eq!(events(ms(150), ms(20)), 10);
        assert_eq!(events(ms(150), ms(10)), 0, "100 ms of each second");
        assert_eq!(events(ms(150), ms(0)), 0);
        assert_eq!(events(Duration::from_micros(1), Duration::from_micros(1)), 10);
    }

    #[test]
    fn a_stall_that_ended_is_told_once() {
        let trigger = Trigger { line: Line::Some, threshold: ms(100), window: ms(1000) };
        let start = Instant::now();
        let mut window = PsiWindow::new(trigger, start, Duration::ZERO);
        assert!(window.update(start + ms(100), ms(100)));
        assert!(!window.update(start + ms(200), ms(250)), "another has to wait until the window is over");
        let told: Vec<_> = (3..=40).filter(|&step| window.update(start + ms(100) * step, ms(250))).collect();
        assert_eq!(told, [11]);
    }
}
