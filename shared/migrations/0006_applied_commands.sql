-- Rows that were pruned make room for new ones, so soon every range of blocks holds some of every age, and an index of what the ranges
-- hold leads everywhere. Pruning reads the table once, block by block, instead.
DROP INDEX applied_commands_age;
