-- Which request of a phone brought a text, as a hash: the same one after a restart is not heard twice. 0: no phone did.
ALTER TABLE im_message ADD COLUMN request INTEGER NOT NULL DEFAULT 0;
