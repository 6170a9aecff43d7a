//! Integration tests: a real node on loopback, talked to as the world does. One binary, so that it links once; one module a
//! topic. What a node needs stands in `support`.

#![allow(clippy::unwrap_used)] // this is a test from end to end

mod abuse;
mod bad_input;
mod baresip;
mod cli;
mod crash;
mod crash_calls;
mod descriptors;
mod health;
mod ipv6;
mod live;
mod names;
mod presence;
mod rooms;
mod security;
mod sessions;
mod signals;
mod sipp;
mod sound;
mod speech;
mod support;
mod tls;
mod verbs;
mod ways;
mod websocket;
