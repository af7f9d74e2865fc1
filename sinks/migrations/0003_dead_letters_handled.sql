ALTER TABLE {tables}.feedback_dead_letters ADD COLUMN IF NOT EXISTS handled LowCardinality(String);

ALTER TABLE {tables}.feedback_dead_letters MODIFY TTL toDateTime(failed_at) + INTERVAL 30 DAY;
