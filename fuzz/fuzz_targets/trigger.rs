//! Pressure triggers: what is taken has the kernel's limits, and no text of a file makes one go wrong.
#![no_main]

use cgprocfs_core::psi::{PsiWindow, Trigger};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], &[u8], Vec<(u32, u32)>)| {
    let (written, file, steps) = input;
    let Ok(trigger) = Trigger::parse(written) else { return };
    assert!(
        (500_000..=10_000_000).contains(&trigger.window) && (1..=trigger.window).contains(&trigger.threshold)
    );
    let (mut now, mut stalled) = (0_u64, trigger.stalled(file).unwrap_or(0));
    let mut window = PsiWindow::new(trigger, now, stalled);
    let mut last = None;
    for (time, stall) in steps {
        now += u64::from(time);
        stalled = stalled.saturating_add(stall.into());
        if window.update(now, stalled) {
            assert!(last.is_none_or(|last| now - last >= u64::from(trigger.window)));
            last = Some(now);
        }
    }
});
