//! How the store is doing.

use model::StoreError;

/// Figures for metrics and alarms, taken at one moment. Counts are since the store was opened.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Why the latest commit failed; `None` when it succeeded. While it is set the store tries again every second.
    pub failing: Option<StoreError>,
    /// Operations that wait to be written.
    pub queued: u64,
    /// Transactions that changed something.
    pub commits: u64,
    /// Operations carried out.
    pub operations: u64,
    /// Writes of a binding that a newer one replaced while it was queued.
    pub coalesced: u64,
    /// Operations refused because the queue was full.
    pub refused: u64,
    /// Operations answered with a failure.
    pub failed: u64,
    /// Writes without a token that were given up: too many to keep trying, or the store was closed while it failed.
    pub lost: u64,
}
