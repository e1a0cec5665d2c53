//! The only place for unsafe code: system calls that no safe wrapper covers.
#![allow(unsafe_code)]

mod descriptors;
mod heap;
mod mapping;
mod mounts;
mod processes;
mod request_buffers;
mod seccomp;

pub use self::descriptors::{close_all, close_inherited, passed_descriptors, replace_descriptor};
pub use self::heap::{release_free_memory, share_one_heap};
pub use self::mapping::map_shared;
pub use self::mounts::set_mount;
pub use self::processes::{Place, init_of, start_in, thread_time};
pub use self::request_buffers::{
    MAX_REQUEST_BUFFERS, REQUEST_BUFFER_SIZE, RequestBufferAllocator, place_request_buffers,
};
pub use self::seccomp::{
    Listening, affinity_of, answer_call, is_waiting, notification_error, receive_call, wake_on_same_processor,
};
