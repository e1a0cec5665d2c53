//! What an OCI runtime sends to whoever is to have a container's listener: the container process state, and
//! the descriptors that its `fds` names (runtime-spec, config-linux.md, "The Container Process State").

use super::listener::Listener;
use crate::descriptors;
use serde::Deserialize;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// The part of the state that matters here.
#[derive(Debug, Deserialize)]
struct ContainerProcessState {
    fds: Vec<String>,
}

/// How the listener is named in `fds`.
const LISTENER: &str = "seccompFd";
/// Longer states are none: a container's annotations are in it.
const MAX_STATE: usize = 1 << 20;
/// How long a runtime may take to send one.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Receives a container's listener from a runtime.
///
/// # Errors
/// The error that the kernel returns, and `InvalidData` for anything but a state with a listener.
pub fn receive(runtime: &UnixStream) -> io::Result<Listener> {
    let deadline = Instant::now() + TIMEOUT;
    let (mut state, mut received) = (Vec::new(), Vec::new());
    let mut part = vec![0; 64 << 10];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || state.len() > MAX_STATE {
            return Err(io::ErrorKind::InvalidData.into());
        }
        runtime.set_read_timeout(Some(left))?;
        let (length, more) = descriptors::receive(runtime, &mut part)?;
        state.extend_from_slice(part.get(..length).unwrap_or_default());
        received.extend(more);
        // It may be in several parts.
        if let Some(index) = listener_in(&state) {
            return take(received, index);
        }
        if length == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}

fn take(received: Vec<OwnedFd>, index: usize) -> io::Result<Listener> {
    let listener = received.into_iter().nth(index).map(Listener::new);
    Ok(listener.filter(Listener::is_one).ok_or(io::ErrorKind::InvalidData)?)
}

/// Which of the descriptors that come with a state is the listener; `None` if the state is not whole.
#[must_use]
pub fn listener_in(state: &[u8]) -> Option<usize> {
    let state: ContainerProcessState = serde_json::from_slice(state).ok()?;
    state.fds.iter().position(|name| name == LISTENER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::SendFlags;
    use std::fs::File;
    use std::io::Write;
    use std::os::fd::AsFd;

    const STATE: &str =
        r#"{"ociVersion":"1.0.2","fds":["seccompFd"],"pid":7,"metadata":"","state":{"id":"x"}}"#;

    #[test]
    fn states_in_parts() {
        let (mut runtime, ours) = UnixStream::pair().unwrap();
        let file = File::open("/dev/null").unwrap();
        let (first, second) = STATE.as_bytes().split_at(20);
        let refused = || receive(&ours).err().map(|error| error.kind());
        descriptors::send(&runtime, first, &[file.as_fd()], SendFlags::empty()).unwrap();
        runtime.write_all(second).unwrap();
        assert_eq!(refused(), Some(io::ErrorKind::InvalidData), "it is no listener");
        runtime.write_all(STATE.as_bytes()).unwrap();
        assert_eq!(refused(), Some(io::ErrorKind::InvalidData), "without a descriptor");
        runtime.write_all(b"{").unwrap();
        drop(runtime);
        assert_eq!(refused(), Some(io::ErrorKind::InvalidData));
    }

    #[test]
    fn the_listener_is_the_one_that_is_named() {
        assert_eq!(listener_in(STATE.as_bytes()), Some(0));
        assert_eq!(listener_in(br#"{"fds":["x","seccompFd"]}"#), Some(1));
        for other in ["", "{}", r#"{"fds":[]}"#, r#"{"fds":["x"]}"#, r#"{"fds":7}"#] {
            assert_eq!(listener_in(other.as_bytes()), None, "{other}");
        }
    }
}
