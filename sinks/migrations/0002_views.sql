CREATE OR REPLACE VIEW {views}.requests DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT tenant_id, request_id, polarity, score, scale_min, scale_max, weight, comment, correction, reasons, tags, flagged, model, prompt_id,
  prompt_version, environment, app, user_id, source, signal, metadata, voted_at, first_seen, updated_at
FROM {tables}.feedback_latest FINAL
WHERE (tenant_id, request_id) NOT IN (SELECT tenant_id, request_id FROM {tables}.feedback_erased);

CREATE OR REPLACE VIEW {views}.current_votes DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT tenant_id, request_id, assumeNotNull(polarity) AS polarity, score, scale_min, scale_max, weight, comment, correction, reasons, tags, flagged, model, prompt_id,
  prompt_version, environment, app, user_id, source, signal, metadata, voted_at, first_seen, updated_at
FROM {tables}.feedback_latest AS l FINAL
WHERE l.polarity IS NOT NULL AND (tenant_id, request_id) NOT IN (SELECT tenant_id, request_id FROM {tables}.feedback_erased);

CREATE OR REPLACE VIEW {views}.vote_history DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT tenant_id, request_id, event_id, kind, polarity, score, weight, comment, correction, reasons, tags, flagged, user_id, signal, source,
  feedback_id, preference, metadata, event_time, append_time AS ingested_at, effective_time
FROM (SELECT * FROM {tables}.feedback_events FINAL ORDER BY version LIMIT 1 BY tenant_id, request_id, event_id, event_time)
WHERE (tenant_id, request_id) NOT IN (SELECT tenant_id, request_id FROM {tables}.feedback_erased);

CREATE OR REPLACE VIEW {views}.negative_rate_by_minute DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT tenant_id, rollup, group_key, CAST(any(m.dimensions), 'Map(LowCardinality(String), String)') AS dimensions, m.minute AS minute,
  sum(m.negative) AS negative, sum(m.positive) AS positive, sum(m.neutral) AS neutral, negative + positive AS votes,
  if(votes = 0, NULL, negative / votes) AS rate, wilson_low(negative, votes) AS rate_low, wilson_high(negative, votes) AS rate_high
FROM {tables}.feedback_minutes AS m FINAL GROUP BY tenant_id, rollup, group_key, minute;

CREATE OR REPLACE VIEW {views}.negative_rate_by_hour DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT tenant_id, rollup, group_key, CAST(any(m.dimensions), 'Map(LowCardinality(String), String)') AS dimensions, toStartOfHour(m.minute) AS hour,
  sum(m.negative) AS negative, sum(m.positive) AS positive, sum(m.neutral) AS neutral, negative + positive AS votes,
  if(votes = 0, NULL, negative / votes) AS rate, wilson_low(negative, votes) AS rate_low, wilson_high(negative, votes) AS rate_high
FROM {tables}.feedback_minutes AS m FINAL GROUP BY tenant_id, rollup, group_key, hour;

CREATE OR REPLACE VIEW {views}.negative_rate_by_day DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT tenant_id, rollup, group_key, CAST(any(m.dimensions), 'Map(LowCardinality(String), String)') AS dimensions, toDate(m.minute) AS day,
  sum(m.negative) AS negative, sum(m.positive) AS positive, sum(m.neutral) AS neutral, negative + positive AS votes,
  if(votes = 0, NULL, negative / votes) AS rate, wilson_low(negative, votes) AS rate_low, wilson_high(negative, votes) AS rate_high
FROM {tables}.feedback_minutes AS m FINAL GROUP BY tenant_id, rollup, group_key, day;

CREATE OR REPLACE VIEW {views}.coverage DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT tenant_id, toDate(first_seen) AS day, model, count() AS requests, countIf(polarity IS NOT NULL AND signal != 'implicit') AS rated, rated / requests AS coverage
FROM {tables}.feedback_latest FINAL
WHERE (tenant_id, request_id) NOT IN (SELECT tenant_id, request_id FROM {tables}.feedback_erased)
GROUP BY tenant_id, day, model;

CREATE OR REPLACE VIEW {views}.alert_history DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT tenant_id, fingerprint, alert_id, monitor, kind, severity, rollup, group, status, started_at, evaluated_at, ended_at, window_minutes,
  negative, total, rate, lower_bound, threshold, top_user_share, reason, sequence
FROM {tables}.feedback_alerts FINAL ORDER BY sequence DESC, version DESC LIMIT 1 BY tenant_id, fingerprint, started_at;

CREATE OR REPLACE VIEW {views}.alerts_open DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT * FROM {views}.alert_history WHERE status = 'firing';
