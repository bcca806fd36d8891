-- How far a conversation has reached somebody else than whoever spoke: every message up to this ordinal counts as delivered. A high-water mark
-- instead of a row per delivery, and a table of its own, so that gateways, which write it about once a second, do not contend for the
-- row that every batch of the conversation changes.
CREATE TABLE deliveries (
    conversation_id uuid PRIMARY KEY REFERENCES conversations (id) ON DELETE CASCADE,
    delivered_count bigint NOT NULL CHECK (delivered_count > 0)
-- The mark rises all the time: room on the page keeps that off the index.
) WITH (fillfactor = 50);
