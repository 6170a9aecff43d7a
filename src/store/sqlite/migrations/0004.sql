-- What a leg has to do with another interaction, and to whom it transferred.

ALTER TABLE cdr ADD COLUMN link INTEGER;
ALTER TABLE cdr ADD COLUMN link_how TEXT;
ALTER TABLE cdr ADD COLUMN transferred_to TEXT NOT NULL DEFAULT '';
