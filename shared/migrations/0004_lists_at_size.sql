-- Lists in the order of the latest activity, read from an index that a busy conversation does not have to change with every message.
--
-- `listed_at` follows a conversation's `updated_at` at a distance: listed_at <= updated_at <= listed_at + 5 min. Whoever reads a page in the
-- order of updated_at therefore finds all of it within 5 min of where listed_at says; see `postgres::listing`. Each present member has the
-- conversation's own, so that one index holds a member's conversations in that order. Raising it costs a write per member, at most once in 5 min;
-- a conversation with more than 256 members is spared that: it is at 'infinity', among those that are always looked at.
ALTER TABLE conversations ADD COLUMN listed_at timestamptz NOT NULL DEFAULT 'infinity';
ALTER TABLE memberships ADD COLUMN listed_at timestamptz NOT NULL DEFAULT 'infinity';

UPDATE conversations c SET listed_at = c.updated_at
WHERE (SELECT count(*) FROM memberships m WHERE m.conversation_id = c.id AND m.left_at IS NULL) <= 256;
UPDATE memberships m SET listed_at = c.listed_at FROM conversations c WHERE c.id = m.conversation_id;

CREATE INDEX memberships_listed ON memberships (user_id, listed_at DESC, conversation_id) WHERE left_at IS NULL;
DROP INDEX memberships_user;
CREATE INDEX conversations_rooms ON conversations (listed_at DESC, id DESC) WHERE kind = 'room' AND deleted_at IS NULL;
