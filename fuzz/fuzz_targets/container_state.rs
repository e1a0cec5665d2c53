//! What a container runtime sends to hand over a listener: no text makes it go wrong, and the listener is one of
//! the descriptors that the text names.
#![no_main]

use cgprocfs::syscalls::oci::listener_in;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|state: &[u8]| {
    if let Some(index) = listener_in(state) {
        assert!(state.len() > "seccompFd".len());
        assert!(index < state.len());
    }
});
