//! See `switch_targets::switch`.
#![no_main]

#[path = "../switch_targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|input: &[u8]| targets::switch(input));
