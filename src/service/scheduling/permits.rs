//! Permits to read on a serving thread.

use parking_lot::Mutex;
use std::sync::Arc;

/// The containers for which serving threads are reading. For one container only one may, however many cgroups
/// it has made below its own, and not all of these threads may read at a time what may take long.
pub(in crate::service) struct ReadPermits {
    max: usize,
    containers: Mutex<Vec<Arc<[u8]>>>,
}

/// Allows a thread to read, until it is dropped. The default one is a worker's, which needs none.
#[derive(Default)]
pub(in crate::service) struct Permit<'r>(Option<(&'r ReadPermits, Arc<[u8]>)>);

impl ReadPermits {
    /// At most `max` threads may read at a time what may take long.
    pub(in crate::service) fn new(max: usize) -> Self {
        Self { max, containers: Mutex::default() }
    }

    /// A permit to read for `container`; `None` where a worker has to do it. What was quick until now holds
    /// up nobody, and to hand it to a worker would cost as much as to read it.
    pub(in crate::service) fn permit(&self, container: &[u8], is_quick: bool) -> Option<Permit<'_>> {
        let mut containers = self.containers.lock();
        let are_many = containers.len() >= self.max && !is_quick;
        if are_many || containers.iter().any(|other| **other == *container) {
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
            if let Some(index) = containers.iter().position(|other| other == container) {
                containers.swap_remove(index);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_read_by_one_serving_thread() {
        let readings = ReadPermits::new(3);
        let one = readings.permit(b"/a", false).unwrap();
        assert!([false, true].iter().all(|is_quick| readings.permit(b"/a", *is_quick).is_none()));
        let others = [b"/b", b"/c"].map(|other| readings.permit(other, false).unwrap());
        assert!(readings.permit(b"/d", false).is_none(), "one is left for who needs nothing to be read");
        drop(readings.permit(b"/d", true).unwrap());
        drop(one);
        drop(readings.permit(b"/a", false).unwrap());
        drop(others);
        assert!(readings.containers.lock().is_empty());
    }
}
