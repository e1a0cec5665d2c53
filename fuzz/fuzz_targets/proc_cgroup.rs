//! `/proc/PID/cgroup`: every line, taken apart, is the line.
#![no_main]

use cgprocfs_core::parse::proc_cgroup::Membership;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let Ok(memberships) = Membership::parse_all(text) else { return };
    let lines = text.split(|&b| b == b'\n').filter(|line| !line.is_empty());
    for (line, membership) in lines.zip(memberships) {
        let Ok(membership) = membership else { continue };
        assert!(membership.path.starts_with(b"/"));
        let rest = [b":", membership.controllers, b":", membership.path].concat();
        let id = line.strip_suffix(&*rest).expect("the end of the line");
        assert!(!id.contains(&b':'));
        assert_eq!(membership.is_v2(), membership.controllers.is_empty());
        assert!(!membership.has_controller("memory") || !membership.is_v2());
    }
});
