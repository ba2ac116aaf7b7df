//! What creditgate promises, tested from outside.

mod core;
