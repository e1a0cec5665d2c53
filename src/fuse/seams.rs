//! Where this crate reaches into what fuser does.

pub(crate) mod request_buffers;
