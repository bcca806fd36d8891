-- Public rooms, guests, and tokens that can be revoked.

ALTER TABLE conversations
    ADD COLUMN description text CHECK (length(description) BETWEEN 1 AND 500),
    -- The most people who may be present at a time.
    ADD COLUMN max_users   integer CHECK (max_users BETWEEN 1 AND 100000),
    -- The change that last gave a room another name, description or size, or ended it; by whom and when.
    ADD COLUMN info_seq    bigint NOT NULL DEFAULT 0,
    ADD COLUMN info_by     uuid REFERENCES users (id),
    ADD COLUMN info_at     timestamptz,
    -- A room that has ended keeps its messages; nobody can enter it or read them any more.
    ADD COLUMN deleted_at  timestamptz,
    -- Cleanup has seen that there is nothing to be cleaned up, and need not look again.
    ADD COLUMN stays       boolean NOT NULL DEFAULT false,
    ADD CHECK (kind = 'room' OR (description IS NULL AND max_users IS NULL AND deleted_at IS NULL)),
    ADD CHECK ((info_seq = 0) = (info_by IS NULL)),
    ADD CHECK ((info_seq = 0) = (info_at IS NULL)),
    ADD CHECK (kind <> 'room' OR name IS NOT NULL);
-- No index may hold what a batch changes in every conversation it touches (last_seq, message_count, updated_at, changed_at), nor
-- may its condition name them: then every batch would change the table's indexes.
CREATE INDEX conversations_ended ON conversations (deleted_at, id) WHERE deleted_at IS NOT NULL AND NOT stays;

-- Which room has which slug. A slug is taken before its room is made, so that two that ask for one name are told apart here; a slug
-- without a room is one whose making was given up, and is free again after a while.
CREATE TABLE room_slugs (
    slug            text PRIMARY KEY CHECK (slug ~ '^[a-z0-9][a-z0-9_-]{0,63}$'),
    conversation_id uuid NOT NULL UNIQUE,
    -- When it was last asked for; none once its room is known to have been made.
    taken_at        timestamptz DEFAULT now()
);
CREATE INDEX room_slugs_taken ON room_slugs (taken_at) WHERE taken_at IS NOT NULL;

-- A guest's name is its own for as long as it is there, no account. Searching by the beginning of a name uses the same index.
DROP INDEX users_username;
CREATE UNIQUE INDEX users_username ON users (lower(username) text_pattern_ops) WHERE role <> 'guest';
CREATE INDEX users_email_prefix ON users (email text_pattern_ops) WHERE email IS NOT NULL;

ALTER TABLE users
    -- Tokens carry the version that they were issued under. A change of password raises it: all tokens but the one that asked for it end.
    ADD COLUMN token_version     integer NOT NULL DEFAULT 0,
    ADD COLUMN kept_token        uuid,
    -- When the version was raised: tokens of other issuers, which carry none, end if they are older.
    ADD COLUMN tokens_changed_at timestamptz,
    -- The user wants to be seen as offline.
    ADD COLUMN appears_offline   boolean NOT NULL DEFAULT false,
    -- Cleanup has seen that this guest left something behind, and need not look again.
    ADD COLUMN stays             boolean NOT NULL DEFAULT false;
-- Guests to be removed when they left nothing behind.
CREATE INDEX users_guests ON users (last_seen_at, id) WHERE role = 'guest' AND NOT stays;

-- Who may be named as a message's sender: every account, and those guests who have said something. So it is known without an index on
-- the messages' senders, which would make every message a third dearer to store, whether a guest left any.
CREATE TABLE senders (user_id uuid PRIMARY KEY REFERENCES users (id));
INSERT INTO senders SELECT id FROM users WHERE role <> 'guest';
CREATE FUNCTION accounts_may_send() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO senders SELECT id FROM added WHERE role <> 'guest';
    RETURN NULL;
END $$;
CREATE TRIGGER accounts_may_send AFTER INSERT ON users REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION accounts_may_send();
ALTER TABLE messages
    DROP CONSTRAINT messages_sender_id_fkey,
    ADD FOREIGN KEY (sender_id) REFERENCES senders (user_id);
-- The other traces that a guest may leave. Each is rare, and so is a row in these.
CREATE INDEX conversations_created_by ON conversations (created_by);
CREATE INDEX conversations_info_by ON conversations (info_by) WHERE info_by IS NOT NULL;
CREATE INDEX memberships_removed_by ON memberships (removed_by) WHERE removed_by IS NOT NULL;
CREATE INDEX messages_deleted_by ON messages (deleted_by) WHERE deleted_by IS NOT NULL;

-- Tokens that ended before their time. Kept until they would have ended anyway.
CREATE TABLE revoked_tokens (
    jti        uuid PRIMARY KEY,
    user_id    uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    expires_at timestamptz NOT NULL
);
CREATE INDEX revoked_tokens_expiry ON revoked_tokens (expires_at);
CREATE INDEX revoked_tokens_user ON revoked_tokens (user_id);

-- Two rooms always exist; somebody has to have made them.
INSERT INTO users (id, username, name, role)
VALUES ('01900000-0000-7000-8000-000000000001', 'confab', 'Confab', 'guest');
INSERT INTO conversations (id, kind, name, created_by, last_seq, created_at, updated_at, changed_at)
SELECT room.id, 'room', room.name, '01900000-0000-7000-8000-000000000001', 1, made.at, made.at, made.at
FROM (VALUES ('01900000-0000-7000-8000-000000000002'::uuid, 'Public'), ('01900000-0000-7000-8000-000000000003'::uuid, 'Lobby'))
         AS room (id, name),
     -- In milliseconds, as everything that clients see.
     (SELECT date_trunc('milliseconds', now())) AS made (at);
INSERT INTO room_slugs (slug, conversation_id)
VALUES ('public', '01900000-0000-7000-8000-000000000002'), ('lobby', '01900000-0000-7000-8000-000000000003');
