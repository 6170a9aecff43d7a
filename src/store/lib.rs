//! Storage as plain data behind a narrow door; does not know what a call is.
