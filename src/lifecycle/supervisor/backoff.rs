//! How long to wait before the next attempt.

use std::time::{Duration, Instant};

/// The second pause. The first is none, and each that follows is twice as long.
const SECOND_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// Pauses that grow from nothing to [`MAX_PAUSE`], and start again after twice that time without any.
#[derive(Default)]
pub(super) struct Backoff {
    next: Duration,
    /// When the last pause was asked for.
    last: Option<Instant>,
}

impl Backoff {
    pub(super) fn next(&mut self) -> Duration {
        self.next_at(Instant::now())
    }

    fn next_at(&mut self, now: Instant) -> Duration {
        if self.last.replace(now).is_some_and(|last| now.duration_since(last) > 2 * MAX_PAUSE) {
            self.next = Duration::ZERO;
        }
        let pause = self.next;
        self.next = (2 * pause).clamp(SECOND_PAUSE, MAX_PAUSE);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_minute_and_no_further() {
        let (mut pauses, mut now) = (Backoff::default(), Instant::now());
        let mut seconds = Vec::new();
        for _ in 0..1000 {
            let pause = pauses.next_at(now);
            now += pause + Duration::from_secs(1);
            seconds.push(pause.as_secs());
        }
        assert_eq!(seconds[..9], [0, 1, 2, 4, 8, 16, 32, 60, 60]);
        assert!(seconds[7..].iter().all(|pause| *pause == 60));
    }

    #[test]
    fn pauses_are_short_again_after_a_while() {
        let (mut pauses, now) = (Backoff::default(), Instant::now());
        let at = |pauses: &mut Backoff, seconds| pauses.next_at(now + Duration::from_secs(seconds)).as_secs();
        assert_eq!([at(&mut pauses, 0), at(&mut pauses, 1), at(&mut pauses, 110)], [0, 1, 2]);
        assert_eq!([at(&mut pauses, 231), at(&mut pauses, 232)], [0, 1]);
    }
}
