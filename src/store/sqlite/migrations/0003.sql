-- What users set by star codes, and subscriptions with their dialogs.

CREATE TABLE user_setting (
    aor               TEXT PRIMARY KEY,
    do_not_disturb    INTEGER NOT NULL,
    call_waiting      INTEGER,
    forward_always    TEXT,
    forward_busy      TEXT,
    forward_no_answer TEXT
) STRICT, WITHOUT ROWID;

-- The tag is of 64 bits and written as a signed number.
CREATE TABLE subscription (
    tag         INTEGER PRIMARY KEY,
    aor         TEXT NOT NULL,
    event       TEXT NOT NULL,
    resource    TEXT NOT NULL,
    contact     TEXT NOT NULL,
    call_id     TEXT NOT NULL,
    remote_tag  TEXT NOT NULL,
    our_side    TEXT NOT NULL,
    their_side  TEXT NOT NULL,
    routes      TEXT NOT NULL,
    target      TEXT NOT NULL,
    our_cseq    INTEGER NOT NULL,
    their_cseq  INTEGER NOT NULL,
    secure      INTEGER NOT NULL,
    transport   TEXT NOT NULL,
    local       TEXT NOT NULL,
    peer        TEXT NOT NULL,
    version     INTEGER NOT NULL,
    kept_at     INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL
) STRICT;
