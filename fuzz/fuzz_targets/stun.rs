//! See `sip_targets::stun`.
#![no_main]

#[allow(dead_code)] // one target of several
#[path = "../sip_targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|input: &[u8]| targets::stun(input));
