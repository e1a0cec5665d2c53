//! Files that hold one number, against the standard library's reading of the same text.
#![no_main]

use cgprocfs_core::parse::counter;
use cgprocfs_core::units::MAX;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    // Without the newline it may be the beginning of a number.
    let Some(plain) = text.strip_suffix(b"\n") else {
        assert!(
            counter::number(text).is_err() && counter::usage(text).is_err() && counter::limit(text).is_err()
        );
        return;
    };
    let digits = plain.iter().all(u8::is_ascii_digit);
    let expected =
        std::str::from_utf8(plain).ok().filter(|_| digits).and_then(|text| text.parse::<u64>().ok());
    assert_eq!(counter::number(text).ok(), expected);
    assert_eq!(counter::usage(text).ok().map(|usage| usage.get()), expected.filter(|&usage| usage <= MAX));
    match counter::limit(text) {
        Ok(Some(limit)) => assert_eq!(Some(limit.get()), expected),
        Ok(None) => assert!(plain == b"max" || expected.is_some_and(|limit| limit > MAX)),
        Err(_) => assert!(expected.is_none() && plain != b"max"),
    }
});
