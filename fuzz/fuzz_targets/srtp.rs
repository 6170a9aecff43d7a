//! See `media_targets::srtp`.
#![no_main]

#[allow(dead_code)] // one target of several
#[path = "../media_targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|input: &[u8]| targets::srtp(input));
