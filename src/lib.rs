//! The running node.

pub mod config;
mod config_dialplan;
mod config_policy;
mod config_section;
mod config_switch;
#[cfg(test)]
mod config_tests;
mod config_toml;
mod config_users;
mod config_values;
