CREATE OR REPLACE VIEW {views}.alert_transitions DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT tenant_id, fingerprint, alert_id, monitor, kind, severity, rollup, group, status, started_at, evaluated_at, ended_at, window_minutes,
  negative, total, rate, lower_bound, threshold, top_user_share, reason, sequence
FROM {tables}.feedback_alerts FINAL;
