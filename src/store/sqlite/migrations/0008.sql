-- Legs that are up: what their records would say if the switch died now. At its next start they get them.

CREATE TABLE open_cdr (
    leg            INTEGER PRIMARY KEY,
    interaction    INTEGER NOT NULL,
    direction      TEXT NOT NULL,
    user           TEXT,
    caller         TEXT NOT NULL,
    callee         TEXT NOT NULL,
    call_id        TEXT NOT NULL,
    started_at     INTEGER NOT NULL,
    ringing_at     INTEGER,
    answered_at    INTEGER,
    ended_by       TEXT NOT NULL,
    reason         TEXT NOT NULL,
    status         INTEGER NOT NULL,
    codec          TEXT NOT NULL,
    link           INTEGER,
    link_how       TEXT,
    transferred_to TEXT NOT NULL
) STRICT;

CREATE TRIGGER cdr_closed AFTER INSERT ON cdr BEGIN
    DELETE FROM open_cdr WHERE leg = NEW.leg;
END;
