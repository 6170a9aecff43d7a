//! A subscription as a store keeps it.

use crate::dialog;
use crate::draft::Tag;
use std::time::Duration;

/// What is left of a notifier in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Our tag, which names the dialog.
    pub tag: Tag,
    /// Event as the subscriber wrote it.
    pub package: String,
    /// Our Contact.
    pub contact: String,
    /// Its dialog.
    pub dialog: dialog::Kept,
    /// How much of its life is left.
    pub left: Duration,
    /// The extension by which its states are written.
    pub requires: Option<&'static str>,
}
