//! Pressure triggers: what is taken has the kernel's limits, and no text of a file makes one go wrong.
#![no_main]

use cgprocfs_core::psi::{PsiWindow, Trigger};
use libfuzzer_sys::fuzz_target;
use std::time::{Duration, Instant};

fuzz_target!(|input: (&[u8], &[u8], Vec<(u32, u32)>)| {
    let (written, file, steps) = input;
    let Ok(trigger) = Trigger::parse(written) else { return };
    assert!(
        (Duration::from_millis(500)..=Duration::from_secs(10)).contains(&trigger.window)
            && (Duration::from_micros(1)..=trigger.window).contains(&trigger.threshold)
    );
    let (mut now, mut stalled) = (Instant::now(), trigger.stalled(file).unwrap_or_default());
    let mut window = PsiWindow::new(trigger, now, stalled);
    let mut last: Option<Instant> = None;
    for (time, stall) in steps {
        now += Duration::from_micros(time.into());
        stalled = stalled.saturating_add(Duration::from_micros(stall.into()));
        if window.update(now, stalled) {
            assert!(last.is_none_or(|last| now - last >= trigger.window));
            last = Some(now);
        }
    }
});
