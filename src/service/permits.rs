//! How many serving threads may read at a time, and for whom.

use parking_lot::Mutex;
use std::sync::Arc;

/// The containers for which a serving thread reads: not all of those threads may, and one of a container only, whatever cgroups it
/// has made below its own.
pub(super) struct Readings {
    most: usize,
    containers: Mutex<Vec<Arc<[u8]>>>,
}

/// That a thread may read a cgroup.
#[derive(Default)]
pub(super) struct Permit<'r>(Option<(&'r Readings, Arc<[u8]>)>);

impl Readings {
    pub(super) fn new(most: usize) -> Self {
        Self { most, containers: Mutex::default() }
    }

    /// `None` where others have to do it.
    pub(super) fn permit(&self, container: &[u8]) -> Option<Permit<'_>> {
        let mut containers = self.containers.lock();
        if containers.len() >= self.most || containers.iter().any(|other| **other == *container) {
            return None;
        }
        let container: Arc<[u8]> = container.into();
        containers.push(Arc::clone(&container));
        Some(Permit(Some((self, container))))
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if let Some((readings, container)) = &self.0 {
            let mut containers = readings.containers.lock();
            if let Some(place) = containers.iter().position(|other| other == container) {
                containers.swap_remove(place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_read_by_one_serving_thread() {
        let readings = Readings::new(3);
        let one = readings.permit(b"/a").unwrap();
        assert!(readings.permit(b"/a").is_none(), "whichever cgroup of it");
        let others = [b"/b", b"/c"].map(|other| readings.permit(other).unwrap());
        assert!(readings.permit(b"/d").is_none(), "one is left for who needs nothing to be read");
        drop(one);
        drop(readings.permit(b"/a").unwrap());
        drop(others);
        assert!(readings.containers.lock().is_empty());
    }
}
