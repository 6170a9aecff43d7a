//! Reading beside the writer, for listings and searches.

use clock::Wall;
use model::{
    Aor, Cdr, ImSession, ImTranscript, InteractionId, MessageId, RecordingRow, SessionId, StoreError, WaitingMessage,
};

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

/// A closed session of messages with its place in the listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TranscriptRow {
    /// Rises in the order of closing.
    pub seq: u64,
    /// What was said is kept, too.
    pub has_text: bool,
    /// The session as it was last.
    pub session: ImSession,
}

/// Which closed sessions: all that are not excluded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TranscriptQuery {
    /// Only those of this user. Consultations belong to their interaction and are nobody's (R341, R342).
    pub user: Option<Aor>,
    /// Only consultations about this interaction.
    pub interaction: Option<InteractionId>,
    /// Only those in whose text all these words stand in one message.
    pub text: Option<Box<str>>,
    /// Only those that ended at this moment or later.
    pub since: Option<Wall>,
    /// Only those that ended before this moment.
    pub until: Option<Wall>,
    /// Only those closed before the one with this number.
    pub before: Option<u64>,
}

/// The words of a text: what stands between all that is neither letter nor digit.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
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

    /// The latest `limit` closed sessions of messages that the query is for; the latest first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn transcripts(&mut self, query: &TranscriptQuery, limit: u32) -> Result<Vec<TranscriptRow>, StoreError> {
        self.0.transcripts(query, limit)
    }

    /// One closed session with what is kept of its text.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn transcript(&mut self, id: SessionId) -> Result<Option<ImTranscript>, StoreError> {
        self.0.transcript(id)
    }

    /// How many messages wait for whom, by the name of the target; who has none is left out.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn waiting_by_user(&mut self) -> Result<Vec<(Aor, u64)>, StoreError> {
        self.0.waiting_by_user()
    }

    /// The oldest `limit` messages that wait for `to` with an id above `after`, in rising order.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn waiting_of(&mut self, to: &Aor, after: MessageId, limit: u32) -> Result<Vec<WaitingMessage>, StoreError> {
        self.0.waiting_of(to, after, limit)
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
    fn transcripts(&mut self, query: &TranscriptQuery, limit: u32) -> Result<Vec<TranscriptRow>, StoreError>;
    fn transcript(&mut self, id: SessionId) -> Result<Option<ImTranscript>, StoreError>;
    fn waiting_by_user(&mut self) -> Result<Vec<(Aor, u64)>, StoreError>;
    fn waiting_of(&mut self, to: &Aor, after: MessageId, limit: u32) -> Result<Vec<WaitingMessage>, StoreError>;
    fn messages_waiting(&mut self) -> Result<u64, StoreError>;
}
