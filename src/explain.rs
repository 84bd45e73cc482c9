//! `why`, for people.

pub use rialto_sdk::core::allocator::report::why as render;
