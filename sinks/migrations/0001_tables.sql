CREATE TABLE IF NOT EXISTS {tables}.feedback_events (
  tenant_id LowCardinality(String), request_id String, event_id String, kind LowCardinality(String),
  polarity Nullable(Int8), score Nullable(Float64), scale_min Nullable(Float64), scale_max Nullable(Float64), weight Nullable(Float64),
  comment String CODEC(ZSTD(3)), correction String CODEC(ZSTD(3)), reasons Array(LowCardinality(String)), tags Array(LowCardinality(String)),
  flagged Nullable(Bool), user_id String, signal LowCardinality(String), source LowCardinality(String), feedback_id String, preference String CODEC(ZSTD(3)),
  metadata Map(LowCardinality(String), Nullable(String)), event_time Nullable(DateTime64(3, 'UTC')), append_time DateTime64(3, 'UTC'),
  effective_time DateTime64(3, 'UTC'), original String CODEC(ZSTD(6)), source_partition UInt32, version UInt64 CODEC(Delta(8), ZSTD(1)),
  INDEX ix_request request_id TYPE bloom_filter(0.01) GRANULARITY 4
) ENGINE = ReplacingMergeTree(version) PARTITION BY toYYYYMM(append_time) ORDER BY (tenant_id, request_id, source_partition, version)
SETTINGS non_replicated_deduplication_window = 0;

CREATE TABLE IF NOT EXISTS {tables}.feedback_latest (
  tenant_id LowCardinality(String), request_id String, version UInt64, is_deleted UInt8, polarity Nullable(Int8), score Nullable(Float64),
  scale_min Nullable(Float64), scale_max Nullable(Float64), weight Nullable(Float64), comment String CODEC(ZSTD(3)), correction String CODEC(ZSTD(3)),
  reasons Array(LowCardinality(String)), tags Array(LowCardinality(String)), flagged Nullable(Bool), model LowCardinality(String), prompt_id String,
  prompt_version LowCardinality(String), environment LowCardinality(String), app LowCardinality(String), user_id String, source LowCardinality(String),
  signal LowCardinality(String), metadata Map(LowCardinality(String), String), voted_at Nullable(DateTime64(3, 'UTC')), first_seen DateTime64(3, 'UTC'),
  updated_at DateTime64(3, 'UTC'), source_partition UInt32,
  INDEX ix_time voted_at TYPE minmax GRANULARITY 1
) ENGINE = ReplacingMergeTree(version, is_deleted) PARTITION BY cityHash64(tenant_id, request_id) % 16 ORDER BY (tenant_id, request_id)
SETTINGS non_replicated_deduplication_window = 0;

CREATE TABLE IF NOT EXISTS {tables}.feedback_minutes (
  tenant_id LowCardinality(String), rollup LowCardinality(String), group_key String, dimensions Map(LowCardinality(String), String),
  minute DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)), source_partition UInt32, version UInt64, negative UInt64, positive UInt64, neutral UInt64
) ENGINE = ReplacingMergeTree(version) PARTITION BY toYYYYMM(minute) ORDER BY (tenant_id, rollup, group_key, minute, source_partition)
SETTINGS non_replicated_deduplication_window = 0;

CREATE TABLE IF NOT EXISTS {tables}.feedback_alerts (
  tenant_id LowCardinality(String), fingerprint String, alert_id String, monitor LowCardinality(String), kind LowCardinality(String),
  severity LowCardinality(String), rollup LowCardinality(String), group Map(LowCardinality(String), String), status LowCardinality(String),
  started_at DateTime64(3, 'UTC'), evaluated_at DateTime64(3, 'UTC'), ended_at Nullable(DateTime64(3, 'UTC')), window_minutes UInt32,
  negative UInt64, total UInt64, rate Float64, lower_bound Float64, threshold Float64, top_user_share Nullable(Float64), reason String,
  sequence UInt64, version UInt64
) ENGINE = ReplacingMergeTree(version) ORDER BY (tenant_id, fingerprint, started_at, status, sequence)
SETTINGS non_replicated_deduplication_window = 0;

CREATE TABLE IF NOT EXISTS {tables}.feedback_dead_letters (
  letter_id String, tenant_id LowCardinality(String), stage LowCardinality(String), reason LowCardinality(String), message String CODEC(ZSTD(3)),
  source_topic LowCardinality(String), source_partition Nullable(UInt32), source_offset Nullable(UInt64), failed_at DateTime64(3, 'UTC'), original String CODEC(ZSTD(6))
) ENGINE = ReplacingMergeTree ORDER BY letter_id
SETTINGS non_replicated_deduplication_window = 0;

CREATE TABLE IF NOT EXISTS {tables}.feedback_erased (
  tenant_id LowCardinality(String), request_id String, version UInt64, erased_at DateTime64(3, 'UTC')
) ENGINE = ReplacingMergeTree(version) ORDER BY (tenant_id, request_id)
SETTINGS non_replicated_deduplication_window = 0;

CREATE OR REPLACE FUNCTION wilson_low AS (negative, votes) -> multiIf(votes = 0, NULL, negative = 0, 0., (negative + 1.9207294103 - 1.9599639845 * sqrt(negative * (toFloat64(votes) - negative) / votes + 0.9603647052)) / (votes + 3.8414588207));

CREATE OR REPLACE FUNCTION wilson_high AS (negative, votes) -> multiIf(votes = 0, NULL, negative = votes, 1., (negative + 1.9207294103 + 1.9599639845 * sqrt(negative * (toFloat64(votes) - negative) / votes + 0.9603647052)) / (votes + 3.8414588207));
