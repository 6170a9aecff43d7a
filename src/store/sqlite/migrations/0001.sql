-- The first schema. Times are milliseconds since 1970 UTC. A released file never changes: the next change is the next file.

-- Numbers that outlive their rows.
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO meta VALUES ('last_message_id', 0), ('probes', 0);

CREATE TABLE binding (
    aor        TEXT NOT NULL,
    key        TEXT NOT NULL,
    contact    TEXT NOT NULL,
    params     TEXT NOT NULL,
    q          INTEGER NOT NULL,
    call_id    TEXT NOT NULL,
    cseq       INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    path       TEXT NOT NULL,
    user_agent TEXT NOT NULL,
    transport  TEXT NOT NULL,
    local      TEXT NOT NULL,
    peer       TEXT NOT NULL,
    PRIMARY KEY (aor, key)
) STRICT, WITHOUT ROWID;

-- Messages that wait, and for a while those delivered, without their bodies, so that a retry is known for one.
CREATE TABLE message (
    id             INTEGER PRIMARY KEY,
    recipient      TEXT NOT NULL,
    sender         TEXT NOT NULL,
    sender_display TEXT NOT NULL,
    call_id        TEXT NOT NULL,
    cseq           INTEGER NOT NULL,
    content_type   TEXT NOT NULL,
    body           BLOB NOT NULL,
    accepted_at    INTEGER NOT NULL,
    expires_at     INTEGER NOT NULL,
    delivered      INTEGER NOT NULL DEFAULT 0,
    UNIQUE (recipient, sender, call_id, cseq)
) STRICT;

CREATE INDEX message_waiting ON message (recipient, id) WHERE delivered = 0;
CREATE INDEX message_expiring ON message (expires_at) WHERE delivered = 0;
CREATE INDEX message_delivered ON message (accepted_at) WHERE delivered = 1;

CREATE TRIGGER message_numbered AFTER INSERT ON message BEGIN
    UPDATE meta SET value = NEW.id WHERE name = 'last_message_id' AND value < NEW.id;
END;

-- One row for each leg, in the order of their ends. Identifiers of 64 bits are written as signed numbers.
CREATE TABLE cdr (
    seq          INTEGER PRIMARY KEY,
    leg          INTEGER NOT NULL UNIQUE,
    interaction  INTEGER NOT NULL,
    direction    TEXT NOT NULL,
    user         TEXT,
    caller       TEXT NOT NULL,
    callee       TEXT NOT NULL,
    call_id      TEXT NOT NULL,
    started_at   INTEGER NOT NULL,
    ringing_at   INTEGER,
    answered_at  INTEGER,
    ended_at     INTEGER NOT NULL,
    ended_by     TEXT NOT NULL,
    reason       TEXT NOT NULL,
    status       INTEGER NOT NULL,
    codec        TEXT NOT NULL,
    packets_in   INTEGER NOT NULL,
    packets_out  INTEGER NOT NULL,
    packets_lost INTEGER NOT NULL
) STRICT;

CREATE INDEX cdr_call ON cdr (interaction, seq);
