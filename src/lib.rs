//! The running node.

pub mod config;
mod config_dialplan;
mod config_policy;
mod config_section;
mod config_switch;

mod config_toml;
mod config_users;
mod config_values;
mod data;
pub mod eventloop;
mod eventloop_handle;
mod eventloop_lanes;
mod process;
mod sip_trace;
mod users_file;
pub use data::socket_path;
pub use process::raise_descriptor_limit;
pub use users_file::{Refused, UsersFile};
#[cfg(test)]
mod config_tests;
#[cfg(test)]
mod eventloop_tests;
