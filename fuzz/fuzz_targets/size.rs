//! Sizes that people write: what is understood is in bounds, and written out in bytes it is the same.
#![no_main]

use cgprocfs_core::units::{Bytes, MAX};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(size) = text.parse::<Bytes>() else { return };
    assert!(size.get() <= MAX);
    assert!(text.starts_with(|first: char| first.is_ascii_digit()));
    assert_eq!(size.get().to_string().parse(), Ok(size));
});
