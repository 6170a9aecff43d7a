//! The grammar from outside: RFC 4475, properties, another parser as oracle, and the corpora of the fuzz targets.
#![allow(clippy::unwrap_used)] // a test may

mod corpus;
mod messages;
mod oracle;
mod properties;
mod torture;
