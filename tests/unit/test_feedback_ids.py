"""Feedback ids: what they carry, who can make them, and the file of their secrets."""

import re
import stat
from pathlib import Path
from uuid import UUID

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from producers import feedback_ids, secret_files
from producers.feedback_ids import FeedbackIds, SecretsError, SecretsFile, read
from schemas.events import AMEND, FeedbackEvent
from schemas.feedback_ids import MAC_BITS, NONCE_BITS, event_key, event_partition, hash_in, packed, split
from schemas.topics import murmur2, partition_of, request_key

ONE, OTHER = b"1" * 32, b"2" * 32
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


def ids(*keys: bytes, nonce: int = 7) -> FeedbackIds:
    return FeedbackIds(lambda: keys, nonce=lambda: nonce)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**NONCE_BITS - 1), st.integers(0, 2**MAC_BITS - 1))
def test_an_id_is_a_uuid_of_version_8_that_holds_all_its_bits(key_hash: int, nonce: int, mac: int) -> None:
    feedback_id = packed(key_hash, nonce, mac)
    parsed = UUID(feedback_id)
    assert (str(parsed), parsed.version, parsed.variant) == (feedback_id, 8, "specified in RFC 4122")
    assert hash_in(feedback_id) == key_hash
    assert split(feedback_id) == (feedback_id[:24], f"{mac:012x}")
    bits = f"{parsed.int:0128b}"
    assert int(bits[32:48] + bits[52:64] + bits[66:80], 2) == nonce


@pytest.mark.parametrize("text", ["", "x", "1" * 36, packed(1, 2, 0xABC).upper(), packed(1, 2, 3) + "0", None])
def test_another_text_holds_no_hash(text: str | None) -> None:
    assert hash_in(text) is None


@given(TEXT, TEXT, st.integers(1, 50))
def test_an_amendment_goes_where_its_vote_went(tenant: str, request: str, partitions: int) -> None:
    vote = FeedbackEvent(tenant, request, "e", "vote", rating=True, feedback_id=ids(ONE).issue(tenant, request))
    amendment = FeedbackEvent(tenant, "", "f", AMEND, feedback_id=vote.feedback_id)
    assert event_key(vote) == request_key(tenant, request)
    assert event_key(amendment) != event_key(vote)
    assert event_partition(amendment, partitions) == event_partition(vote, partitions)
    assert event_partition(vote, partitions) == partition_of(request_key(tenant, request), partitions)


@given(TEXT, TEXT)
def test_an_id_tells_the_request_s_hash_and_is_recognised(tenant: str, request: str) -> None:
    issued = ids(ONE).issue(tenant, request)
    assert hash_in(issued) == murmur2(request_key(tenant, request))
    assert ids(ONE).is_issued(tenant, issued)


def test_another_tenant_another_secret_and_every_altered_digit_are_refused() -> None:
    issued = ids(ONE).issue("acme", "r1")
    assert not ids(ONE).is_issued("other", issued)
    assert not ids(OTHER).is_issued("acme", issued)
    assert not ids(ONE).is_issued("acme", issued.upper())
    for place, sign in enumerate(issued):
        for digit in set("0123456789abcdef") - {sign}:
            altered = issued[:place] + digit + issued[place + 1 :]
            assert not ids(ONE).is_issued("acme", altered)


def test_ids_of_one_request_differ_by_chance() -> None:
    shared = feedback_ids.unshared_ids()
    made = {shared.issue("acme", "r1") for _ in range(1_000)}
    assert len(made) == 1_000
    assert all(shared.is_issued("acme", one) for one in made)


def test_the_first_secret_signs_and_all_of_them_verify() -> None:
    old = ids(ONE).issue("acme", "r1")
    assert ids(OTHER, ONE).is_issued("acme", old)
    assert ids(OTHER, ONE).issue("acme", "r1") == ids(OTHER).issue("acme", "r1")
    assert not ids(OTHER).is_issued("acme", old)


def test_the_file_is_made_once_for_its_owner_only_and_read_by_every_gateway(tmp_path: Path) -> None:
    path = tmp_path / "deep" / feedback_ids.NAME
    first, second = SecretsFile(path), SecretsFile(path)
    assert first() == second() == read(path)
    assert len(first()) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_rotation_counts_within_a_second_and_a_broken_file_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secret_files, "_log", structlog.get_logger())
    path, now = tmp_path / feedback_ids.NAME, [0.0]
    path.write_text(f"{ONE.hex()}\n")
    secrets = SecretsFile(path, monotonic=lambda: now[0])
    with capture_logs() as logs:
        path.write_text(f"# the new one\n{OTHER.hex()}\n\n  {ONE.hex()}  \n")
        assert secrets() == (ONE,)
        now[0] = 1.0
        assert secrets() == (OTHER, ONE)
        path.write_text("broken, and not a secret\n")
        now[0] = 2.0
        assert secrets() == (OTHER, ONE)
    assert [entry["event"] for entry in logs] == ["feedback_ids_file_read", "feedback_ids_file_broken"]
    assert not [entry for entry in logs if re.search(f"{OTHER.hex()}|{ONE.hex()}|not a secret", str(entry))]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no secret"),
        ("# only words\n", "no secret"),
        ("00" * 31, "line 1: a secret must be"),
        (f"{'00' * 32}\nzz\n", "line 2"),
        ("\xff", "cannot be read"),
    ],
)
def test_a_file_without_usable_secrets_is_refused_without_showing_them(
    tmp_path: Path, text: str, complaint: str
) -> None:
    path = tmp_path / "secrets"
    path.write_text(text, "latin-1")
    with pytest.raises(SecretsError, match=complaint) as caught:
        SecretsFile(path)
    assert text.strip() == "" or text.strip() not in str(caught.value)


def test_a_file_that_cannot_be_made_is_told_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SecretsError, match=r"file/secrets"):
        SecretsFile(tmp_path / "file" / "secrets")
