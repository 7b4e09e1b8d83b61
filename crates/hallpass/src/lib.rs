//! Sessions in a database that their owner can see and end, for Rust web applications
