-- Copies of messages for devices of their own, devices that are known, and what senders want to hear of their messages.

-- A device has it: of all others only those with a copy of their own are to get it.
ALTER TABLE message ADD COLUMN taken INTEGER NOT NULL DEFAULT 0;
ALTER TABLE message ADD COLUMN imdn_id TEXT NOT NULL DEFAULT '';
ALTER TABLE message ADD COLUMN wants INTEGER NOT NULL DEFAULT 0;

-- One row for each device that is still to get a message.
CREATE TABLE message_copy (
    message INTEGER NOT NULL,
    device  TEXT NOT NULL,
    PRIMARY KEY (message, device)
) STRICT, WITHOUT ROWID;

CREATE INDEX message_copy_device ON message_copy (device);

CREATE TRIGGER message_delivered_to_all AFTER UPDATE OF delivered ON message WHEN NEW.delivered = 1 BEGIN
    DELETE FROM message_copy WHERE message = NEW.id;
END;

CREATE TRIGGER message_forgotten AFTER DELETE ON message BEGIN
    DELETE FROM message_copy WHERE message = OLD.id;
END;

CREATE TABLE device (
    aor     TEXT NOT NULL,
    key     TEXT NOT NULL,
    seen_at INTEGER NOT NULL,
    takes   INTEGER NOT NULL,
    PRIMARY KEY (aor, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE receipt (
    id          INTEGER PRIMARY KEY,
    sender      TEXT NOT NULL,
    reader      TEXT NOT NULL,
    imdn_id     TEXT NOT NULL,
    wants       INTEGER NOT NULL,
    seen        INTEGER NOT NULL,
    told        INTEGER NOT NULL,
    accepted_at INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL
) STRICT;
