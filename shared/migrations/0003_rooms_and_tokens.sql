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
    ADD CHECK (kind = 'room' OR (description IS NULL AND max_users IS NULL AND deleted_at IS NULL)),
    ADD CHECK ((info_seq = 0) = (info_by IS NULL)),
    ADD CHECK ((info_seq = 0) = (info_at IS NULL)),
    ADD CHECK (kind <> 'room' OR name IS NOT NULL);

-- Which room has which slug. A slug is taken before its room is made, so that two that ask for one name are told apart here; a slug
-- without a room is one whose making was given up, and is free again after a while.
CREATE TABLE room_slugs (
    slug            text PRIMARY KEY CHECK (slug ~ '^[a-z0-9][a-z0-9_-]{0,63}$'),
    conversation_id uuid NOT NULL UNIQUE,
    taken_at        timestamptz NOT NULL DEFAULT now()
);

-- A guest's name is its own for as long as it is there, no account. Searching by the beginning of a name uses the same index.
DROP INDEX users_username;
CREATE UNIQUE INDEX users_username ON users (lower(username) text_pattern_ops) WHERE role <> 'guest';
CREATE INDEX users_email_prefix ON users (email text_pattern_ops) WHERE email IS NOT NULL;
-- Guests to be removed when they left nothing behind.
CREATE INDEX users_guests ON users (last_seen_at) WHERE role = 'guest';

ALTER TABLE users
    -- Tokens carry the version that they were issued under. A change of password raises it: all tokens but the one that asked for it end.
    ADD COLUMN token_version     integer NOT NULL DEFAULT 0,
    ADD COLUMN kept_token        uuid,
    -- When the version was raised: tokens of other issuers, which carry none, end if they are older.
    ADD COLUMN tokens_changed_at timestamptz,
    -- The user wants to be seen as offline.
    ADD COLUMN appears_offline   boolean NOT NULL DEFAULT false;

-- Tokens that ended before their time. Kept until they would have ended anyway.
CREATE TABLE revoked_tokens (
    jti        uuid PRIMARY KEY,
    user_id    uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    expires_at timestamptz NOT NULL
);
CREATE INDEX revoked_tokens_expiry ON revoked_tokens (expires_at);

-- Two rooms always exist; somebody has to have made them.
INSERT INTO users (id, username, name, role)
VALUES ('01900000-0000-7000-8000-000000000001', 'confab', 'Confab', 'guest');
INSERT INTO conversations (id, kind, name, created_by, last_seq, created_at, updated_at, changed_at)
VALUES ('01900000-0000-7000-8000-000000000002', 'room', 'Public', '01900000-0000-7000-8000-000000000001', 1, now(), now(), now()),
       ('01900000-0000-7000-8000-000000000003', 'room', 'Lobby', '01900000-0000-7000-8000-000000000001', 1, now(), now(), now());
INSERT INTO room_slugs (slug, conversation_id)
VALUES ('public', '01900000-0000-7000-8000-000000000002'), ('lobby', '01900000-0000-7000-8000-000000000003');
