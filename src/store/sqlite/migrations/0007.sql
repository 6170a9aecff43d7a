-- Sessions of instant messages: open ones over a restart, closed ones as records. `data` is the session as JSON.
CREATE TABLE im_session (
    id          INTEGER PRIMARY KEY,
    -- 0 while it is open; then its place in the order of closing.
    closed      INTEGER NOT NULL,
    ended_at    INTEGER,
    -- Of a consultation: the interaction that owns it.
    interaction INTEGER,
    has_text    INTEGER NOT NULL,
    data        TEXT NOT NULL
) STRICT;

CREATE INDEX im_session_closed ON im_session (closed);
CREATE INDEX im_session_ended ON im_session (ended_at) WHERE closed > 0;
CREATE INDEX im_session_interaction ON im_session (interaction) WHERE interaction IS NOT NULL;

-- Who took part in a closed session that is no consultation.
CREATE TABLE im_party (
    aor     TEXT NOT NULL,
    closed  INTEGER NOT NULL,
    session INTEGER NOT NULL,
    PRIMARY KEY (aor, closed)
) STRICT, WITHOUT ROWID;

CREATE INDEX im_party_session ON im_party (session);

CREATE TABLE im_message (
    id      INTEGER PRIMARY KEY,
    session INTEGER NOT NULL,
    seq     INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    party   INTEGER NOT NULL,
    shown   TEXT NOT NULL,
    text    TEXT NOT NULL,
    UNIQUE (session, seq)
) STRICT;

-- The words of closed sessions whose text is kept; what is deleted from it leaves no trace in it.
CREATE VIRTUAL TABLE im_text USING fts5 (text, content = 'im_message', content_rowid = 'id');
INSERT INTO im_text (im_text, rank) VALUES ('secure-delete', 1);
