-- Users, conversations, memberships, messages, and what keeps their changes once-only and ordered.

CREATE TABLE users (
    id            uuid PRIMARY KEY,
    email         text CHECK (email = lower(email) AND length(email) <= 254),
    username      text NOT NULL CHECK (length(username) BETWEEN 3 AND 32),
    name          text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    avatar        text CHECK (length(avatar) <= 2048),
    -- An argon2id hash in PHC format; guests have none.
    password_hash text,
    role          text NOT NULL DEFAULT 'user' CHECK (role IN ('user', 'admin', 'guest')),
    last_seen_at  timestamptz NOT NULL DEFAULT now(),
    created_at    timestamptz NOT NULL DEFAULT now(),
    CHECK ((role = 'guest') = (password_hash IS NULL)),
    CHECK ((role = 'guest') = (email IS NULL))
);
CREATE UNIQUE INDEX users_email ON users (email);
-- Two names that differ in case only would be taken for each other.
CREATE UNIQUE INDEX users_username ON users (lower(username));

CREATE TABLE conversations (
    id            uuid PRIMARY KEY,
    kind          text NOT NULL CHECK (kind IN ('direct', 'group', 'room')),
    name          text CHECK (length(name) BETWEEN 1 AND 100),
    created_by    uuid NOT NULL REFERENCES users (id),
    -- The number of durable changes; each has the next one.
    last_seq      bigint NOT NULL DEFAULT 0 CHECK (last_seq >= 0),
    -- The number of messages ever stored; each has the next one as its ordinal.
    message_count bigint NOT NULL DEFAULT 0 CHECK (message_count >= 0),
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    CHECK (kind <> 'direct' OR name IS NULL)
-- Counters change with every batch: room on the page keeps those updates off the indexes.
) WITH (fillfactor = 70);

CREATE TABLE memberships (
    conversation_id uuid NOT NULL REFERENCES conversations (id),
    user_id         uuid NOT NULL REFERENCES users (id),
    role            text NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
    -- Everything up to this ordinal is read.
    read_count      bigint NOT NULL DEFAULT 0 CHECK (read_count >= 0),
    -- The change that last raised read_count by a reading (sending raises it without one), and how.
    read_seq        bigint NOT NULL DEFAULT 0,
    read_message_id bigint,
    read_at         timestamptz,
    -- The change that last added or removed this member or gave it another role.
    change_seq      bigint NOT NULL,
    -- The change that last added it, set again by a rejoining: it tells an addition from a mere change of role.
    joined_seq      bigint NOT NULL,
    joined_at       timestamptz NOT NULL,
    left_at         timestamptz,
    removed_by      uuid REFERENCES users (id),
    PRIMARY KEY (conversation_id, user_id),
    CHECK ((left_at IS NULL) = (removed_by IS NULL)),
    CHECK (joined_seq <= change_seq)
) WITH (fillfactor = 70);
CREATE INDEX memberships_user ON memberships (user_id) WHERE left_at IS NULL;
-- What a gateway asks after it lost its connection to Redis: who came or went since.
CREATE INDEX memberships_user_joined ON memberships (user_id, joined_at);
CREATE INDEX memberships_user_left ON memberships (user_id, left_at) WHERE left_at IS NOT NULL;
CREATE INDEX memberships_conversation_change ON memberships (conversation_id, change_seq);

CREATE TABLE messages (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    conversation_id uuid NOT NULL REFERENCES conversations (id),
    seq             bigint NOT NULL CHECK (seq > 0),
    change_seq      bigint NOT NULL CHECK (change_seq >= seq),
    ordinal         bigint NOT NULL CHECK (ordinal > 0),
    sender_id       uuid NOT NULL REFERENCES users (id),
    type            text NOT NULL CHECK (length(type) BETWEEN 1 AND 32),
    content         text NOT NULL,
    -- The command that stored it: a repeated command finds its row.
    command_id      uuid NOT NULL,
    reply_to        bigint REFERENCES messages (id),
    created_at      timestamptz NOT NULL,
    edited_at       timestamptz,
    deleted_at      timestamptz,
    deleted_by      uuid REFERENCES users (id),
    UNIQUE (conversation_id, seq),
    UNIQUE (conversation_id, command_id),
    -- A tombstone keeps no words.
    CHECK (deleted_at IS NULL OR content = ''),
    CHECK ((deleted_at IS NULL) = (deleted_by IS NULL))
);
-- Changes after the fact are few: an index on those alone costs a plain send nothing.
CREATE INDEX messages_changed ON messages (conversation_id, change_seq) WHERE change_seq <> seq;
CREATE INDEX messages_deleted ON messages (conversation_id, ordinal) WHERE deleted_at IS NOT NULL;

-- Commands other than sends that have taken effect, so that a redelivered one does not take effect again. Pruned by age.
CREATE TABLE applied_commands (
    conversation_id uuid NOT NULL REFERENCES conversations (id),
    command_id      uuid NOT NULL,
    outcome         text NOT NULL,
    applied_at      timestamptz NOT NULL,
    PRIMARY KEY (conversation_id, command_id)
);
CREATE INDEX applied_commands_age ON applied_commands USING brin (applied_at);

-- One row per partition; their number is fixed for the deployment's life. The epoch fences: whoever takes a partition over raises
-- it, and a batch commits only under the epoch that its owner took.
CREATE TABLE partitions (
    id       smallint PRIMARY KEY CHECK (id >= 0),
    epoch    bigint NOT NULL DEFAULT 0,
    owner    uuid,
    taken_at timestamptz
);
