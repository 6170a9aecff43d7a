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
mod process;
mod users_file;
pub use data::socket_path;
pub use process::raise_descriptor_limit;
pub use users_file::{Refused, UsersFile};
#[cfg(test)]
mod config_tests;
