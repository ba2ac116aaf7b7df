//! A request's life between a caller and its provider.

pub mod peek;
