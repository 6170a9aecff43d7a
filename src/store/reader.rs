//! Reading beside the writer, for listings and searches.

use clock::Wall;
use model::{Aor, Cdr, InteractionId, RecordingRow, StoreError};

/// A call record with its place in the listing.
#[derive(Clone, Debug, PartialEq)]
pub struct CdrRow {
    /// Rises in the order in which records were kept; what [`Reader::cdrs`] takes as `before`.
    pub seq: u64,
    /// The record.
    pub cdr: Cdr,
}

/// Which call records: all that are not excluded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CdrQuery {
    /// Only legs of this call.
    pub call: Option<InteractionId>,
    /// Only legs of this user's devices.
    pub user: Option<Aor>,
    /// Only legs that ended at this moment or later.
    pub since: Option<Wall>,
    /// Only legs that ended before this moment.
    pub until: Option<Wall>,
    /// Only records kept before the one with this number.
    pub before: Option<u64>,
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

    /// The latest `limit` call records that the query is for; the latest first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn find_cdrs(&mut self, query: &CdrQuery, limit: u32) -> Result<Vec<CdrRow>, StoreError> {
        self.0.find_cdrs(query, limit)
    }

    /// The first `limit` call records kept after the one with this number, in the order in which they were kept.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn cdrs_after(&mut self, seq: u64, limit: u32) -> Result<Vec<CdrRow>, StoreError> {
        self.0.cdrs_after(seq, limit)
    }

    /// The latest `limit` recordings, the latest first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn recordings(&mut self, limit: u32) -> Result<Vec<RecordingRow>, StoreError> {
        self.0.recordings(limit)
    }

    /// The recordings of one call, the first first; at most 1,000.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn recordings_of(&mut self, call: InteractionId) -> Result<Vec<RecordingRow>, StoreError> {
        self.0.recordings_of(call)
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
    fn find_cdrs(&mut self, query: &CdrQuery, limit: u32) -> Result<Vec<CdrRow>, StoreError>;
    fn cdrs_after(&mut self, seq: u64, limit: u32) -> Result<Vec<CdrRow>, StoreError>;
    fn recordings(&mut self, limit: u32) -> Result<Vec<RecordingRow>, StoreError>;
    fn recordings_of(&mut self, call: InteractionId) -> Result<Vec<RecordingRow>, StoreError>;
    fn waiting_by_user(&mut self) -> Result<Vec<(Aor, u64)>, StoreError>;
    fn messages_waiting(&mut self) -> Result<u64, StoreError>;
}
