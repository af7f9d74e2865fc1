CREATE TABLE IF NOT EXISTS {tables}.feedback_ids (
  tenant_id LowCardinality(String), feedback_id String, request_id String, version UInt64
) ENGINE = ReplacingMergeTree(version) ORDER BY (tenant_id, feedback_id)
SETTINGS non_replicated_deduplication_window = 0;

CREATE OR REPLACE VIEW {views}.vote_history DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT tenant_id, request_id, event_id, kind, polarity, score, weight, comment, correction, reasons, tags, flagged, user_id, signal, source,
  feedback_id, preference, metadata, event_time, append_time AS ingested_at, effective_time
FROM (SELECT * FROM {tables}.feedback_events FINAL WHERE kind != 'amend' ORDER BY version LIMIT 1 BY tenant_id, request_id, event_id, event_time)
WHERE (tenant_id, request_id) NOT IN (SELECT tenant_id, request_id FROM {tables}.feedback_erased)
UNION ALL
SELECT tenant_id, i.request_id AS request_id, event_id, kind, polarity, score, weight, comment, correction, reasons, tags, flagged, user_id, signal, source,
  feedback_id, preference, metadata, event_time, append_time AS ingested_at, effective_time
FROM (
  SELECT * EXCEPT request_id FROM {tables}.feedback_events FINAL WHERE kind = 'amend' ORDER BY version LIMIT 1 BY tenant_id, feedback_id, event_id, event_time
) AS e LEFT JOIN (
  SELECT tenant_id, feedback_id, request_id FROM {tables}.feedback_ids FINAL
  WHERE feedback_id IN (SELECT feedback_id FROM {tables}.feedback_events WHERE kind = 'amend')
) AS i USING (tenant_id, feedback_id)
WHERE (tenant_id, i.request_id) NOT IN (SELECT tenant_id, request_id FROM {tables}.feedback_erased);
