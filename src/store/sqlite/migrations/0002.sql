-- How a leg sounded: milliseconds, and hundredths of a mean opinion score.

ALTER TABLE cdr ADD COLUMN jitter_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE cdr ADD COLUMN remote_lost INTEGER NOT NULL DEFAULT 0;
ALTER TABLE cdr ADD COLUMN remote_jitter_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE cdr ADD COLUMN round_trip_ms INTEGER;
ALTER TABLE cdr ADD COLUMN mos_hundredths INTEGER;

-- One row for each file of recorded sound; without an end the recording goes on, or the node ended with it.
CREATE TABLE recording (
    name        TEXT PRIMARY KEY,
    interaction INTEGER NOT NULL,
    started_at  INTEGER NOT NULL,
    ended_at    INTEGER,
    length_ms   INTEGER NOT NULL,
    missing_ms  INTEGER NOT NULL,
    bytes       INTEGER NOT NULL,
    error       TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX recording_started ON recording (started_at);
CREATE INDEX recording_call ON recording (interaction, started_at);
