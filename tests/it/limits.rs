//! What one caller may take from this machine, and from the other callers.

mod machine;
mod pace;
