//! What creditgate promises, tested from outside.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod core;
mod redis;
