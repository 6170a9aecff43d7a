//! One file per typed header.
