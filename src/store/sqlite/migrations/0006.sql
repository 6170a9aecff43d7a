-- What agents said last, by medium: all three columns of one are there, or none.

ALTER TABLE user_setting ADD COLUMN voice_state TEXT;
ALTER TABLE user_setting ADD COLUMN voice_reason TEXT;
ALTER TABLE user_setting ADD COLUMN voice_since INTEGER;
ALTER TABLE user_setting ADD COLUMN im_state TEXT;
ALTER TABLE user_setting ADD COLUMN im_reason TEXT;
ALTER TABLE user_setting ADD COLUMN im_since INTEGER;
