#![no_main]

#[allow(dead_code, reason = "each target has its own of the properties")]
#[path = "../../tests/properties/mod.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| properties::coding::check(bytes));
