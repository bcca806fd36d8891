-- When a conversation last changed in any way. `updated_at` moves with messages only; whoever comes back asks whether anything at
-- all has happened since.
ALTER TABLE conversations ADD COLUMN changed_at timestamptz;
UPDATE conversations SET changed_at = GREATEST(updated_at, now());
ALTER TABLE conversations ALTER COLUMN changed_at SET NOT NULL;
