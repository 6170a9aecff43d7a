//! The narrow door to a storage engine.

use model::{StoreError, StoreOp, StoreReply};

/// An engine that keeps what operations say. `suite.rs` holds what every one must do.
pub(crate) trait Backend: Send {
    /// Carries out `ops` in their order in one transaction, asks `gate`, commits so that a power cut loses nothing, and
    /// returns a reply for each. An operation that fails alone is answered [`StoreReply::Failed`] and leaves no trace; the
    /// others go on. `gate` is asked only when something is written. No operations at all: commits some change, to learn
    /// whether that works.
    ///
    /// An error, also from `gate`, means that nothing of the whole list remains.
    fn transact(&mut self, ops: &[StoreOp], gate: &mut Gate<'_>) -> Result<Vec<StoreReply>, StoreError>;

    /// Leaves everything such that the next opening finds no work.
    fn close(&mut self) {}
}

/// The last word before a commit: tests refuse there.
pub(crate) type Gate<'a> = dyn FnMut() -> Result<(), StoreError> + 'a;

/// Whether this list changes anything; the empty one is the probe of [`Backend::transact`] and does.
pub(crate) fn writes(ops: &[StoreOp]) -> bool {
    ops.is_empty() || !ops.iter().all(is_read)
}

/// Whether the operation only asks.
pub(crate) fn is_read(op: &StoreOp) -> bool {
    matches!(
        op,
        StoreOp::LoadBindings
            | StoreOp::LoadMessages { .. }
            | StoreOp::CountMessages
            | StoreOp::LoadUserSettings
            | StoreOp::LoadSubscriptions
            | StoreOp::LoadDevices
            | StoreOp::LoadReceipts
            | StoreOp::LoadSessions
    )
}
