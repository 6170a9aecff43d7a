//! See `net_targets::websocket`. The parser stands alone, so nothing else of `net` is built.
#![no_main]

#[allow(dead_code)] // what a server sends is not looked at
#[path = "../../src/net/ws/frame.rs"]
mod frame;
#[path = "../net_targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|input: &[u8]| targets::websocket(input));
