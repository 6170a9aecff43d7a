//! Reading beside the writer, for listings and searches.

use model::{Aor, Cdr, InteractionId, StoreError};

/// A call record with its place in the listing.
#[derive(Clone, Debug, PartialEq)]
pub struct CdrRow {
    /// Rises in the order in which records were kept; what [`Reader::cdrs`] takes as `before`.
    pub seq: u64,
    /// The record.
    pub cdr: Cdr,
}

/// A read-only way into the store, for one thread at a time. It sees what is committed, and never delays the writer.
pub struct Reader(Box<dyn Read>);

impl Reader {
    pub(crate) fn new(read: Box<dyn Read>) -> Reader {
        Reader(read)
    }

    /// The latest `limit` call records kept before the one numbered `before`, or of all; the latest first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn cdrs(&mut self, limit: u32, before: Option<u64>) -> Result<Vec<CdrRow>, StoreError> {
        self.0.cdrs(limit, before)
    }

    /// The records of one call's legs in the order in which they were kept, at most 1,000: no call has as many legs.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn cdrs_of(&mut self, call: InteractionId) -> Result<Vec<CdrRow>, StoreError> {
        self.0.cdrs_of(call)
    }

    /// How many messages wait for whom, by the name of the target; who has none is left out.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn waiting_by_user(&mut self) -> Result<Vec<(Aor, u64)>, StoreError> {
        self.0.waiting_by_user()
    }

    /// How many messages wait for their readers.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn messages_waiting(&mut self) -> Result<u64, StoreError> {
        self.0.messages_waiting()
    }
}

/// What a backend can be asked beside its writer.
pub(crate) trait Read: Send {
    fn cdrs(&mut self, limit: u32, before: Option<u64>) -> Result<Vec<CdrRow>, StoreError>;
    fn cdrs_of(&mut self, call: InteractionId) -> Result<Vec<CdrRow>, StoreError>;
    fn waiting_by_user(&mut self) -> Result<Vec<(Aor, u64)>, StoreError>;
    fn messages_waiting(&mut self) -> Result<u64, StoreError>;
}
