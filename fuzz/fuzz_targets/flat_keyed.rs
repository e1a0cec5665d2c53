//! Keys and numbers: a key that is found is a line of the text.
#![no_main]

use cgprocfs_core::parse::decimal;
use cgprocfs_core::parse::flat_keyed::{flat_keyed, malformed_keys, value_of};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let Ok(lines) = flat_keyed(text) else { return };
    let lines: Vec<_> = lines.collect();
    for (place, (key, value)) in lines.iter().enumerate() {
        assert!(!key.contains(&b' ') && !key.contains(&b'\n'));
        let is_first = lines[..place].iter().all(|(before, _)| before != key);
        if let (true, Ok(key)) = (is_first, std::str::from_utf8(key)) {
            assert_eq!(value_of(text, key), decimal(value).map(Some));
        }
    }
    for malformed in malformed_keys(text) {
        assert!(lines.iter().any(|(key, _)| *key == malformed));
    }
});
