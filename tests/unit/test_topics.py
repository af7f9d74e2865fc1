"""Keys, partitions and topic settings: what other programs must compute exactly alike."""

import pytest

from schemas.topics import (
    PROGRESS_KEY,
    Topics,
    epoch_of,
    escape,
    group_key,
    minute_key,
    murmur2,
    partition_of,
    request_key,
    source_partition_of,
    version_of,
)

KAFKA_VECTORS = {  # of Apache Kafka's own UtilsTest, as signed 32-bit numbers
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize(("data", "hashed"), KAFKA_VECTORS.items())
def test_murmur2_is_kafkas(data: bytes, hashed: int) -> None:
    assert murmur2(data) == hashed & 0xFFFFFFFF
    assert partition_of(data, 4) == (hashed & 0x7FFFFFFF) % 4


def test_keys_escape_what_separates() -> None:
    assert request_key("a|b", "50%|x") == b"a%7Cb|50%25%7Cx"
    assert request_key("acme", "ünï") == "acme|ünï".encode()
    assert minute_key("acme", "prompt_id+prompt_version", ("a|b", "1")) == b"acme|prompt_id+prompt_version|a%7Cb|1"
    assert minute_key("acme", "tenant", ()) == b"acme|tenant|"


def test_different_identities_have_different_keys() -> None:
    parts = ["a", "b", "|", "%", "a|b", "%7C", "%25", ""]
    assert len({request_key(one, other) for one in parts for other in parts}) == len(parts) ** 2
    assert len({group_key((one, other)) for one in parts for other in parts}) == len(parts) ** 2
    assert "|" not in escape("|%|")


def test_no_group_has_the_key_of_progress_marks() -> None:
    assert minute_key("", "progress", ()) == PROGRESS_KEY  # only a tenant without a name could, and none is valid


def test_versions_of_a_new_epoch_are_above_all_of_the_one_before() -> None:
    assert version_of(2, 0) > version_of(1, 2**47)
    assert version_of(1, 5) == 2**48 + 5
    assert (source_partition_of(3, 12), epoch_of(3012)) == (3012, 3)


def test_the_topics_have_the_names_and_settings_of_the_contract() -> None:
    topics = Topics("x.", event_partitions=6, minute_partitions=3)
    assert [topic.name for topic in topics] == [
        "x.events", "x.latest", "x.minutes", "x.high-negative-rate", "x.dead-letters",
    ]  # fmt: skip
    assert [topic.partitions for topic in topics] == [6, 6, 3, 3, 1]
    assert topics.latest.partitions == topics.events.partitions
    assert {t.name for t in topics if t.config.get("message.timestamp.type") == "LogAppendTime"} == {
        "x.events", "x.minutes",
    }  # fmt: skip
    compacted = [topic for topic in topics if topic.config["cleanup.policy"] == "compact"]
    assert [topic.name for topic in compacted] == ["x.latest", "x.high-negative-rate"]
    assert all(topic.config["min.compaction.lag.ms"] == "86400000" for topic in compacted)
