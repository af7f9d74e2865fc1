"""What each kind of receiver is sent: shape, limits, signature, ids."""

import base64
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from examples.verify_webhook import verify
from schemas.events import Alert, ResolvedFeedback, Stamp, Vote
from sinks.delivery.alertmanager import labels
from sinks.delivery.messages import LONGEST_TEXT, Notice, message, vote_id
from sinks.delivery.requests import reposting, request
from sinks.delivery.signing import sign
from tests.simulators.delivery import NOON, alert, receiver
from tests.simulators.golden import examples

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
STALE = Notice(
    "evaluation_stale:1:firing", "evaluation_stale", "firing", NOON, NOON, "Not evaluated.", {"cause": "watch"}
)
NASTY = {"model": "<!channel> & <https://evil|x>", "prompt-id": "é" * 3_000, "9": "", "tenant": "spoofed"}


def valid(name: str, body: bytes) -> Any:
    """The body's JSON, which must fit the schema in tests/fixtures."""
    schema = json.loads((FIXTURES / name).read_text("utf-8"))
    content = json.loads(body)
    jsonschema.validate(content, schema, format_checker=jsonschema.FormatChecker(["date-time"]))
    return content


def vote(**changed: Any) -> ResolvedFeedback:
    fields: dict[str, Any] = {
        "version": 281_474_976_710_697, "erased": False, "vote_time": NOON, "tenant_id": "acme", "request_id": "r1",
        "vote": Vote(-1, source="native"), "comment": "wrong",
        "metadata": {"model": '"m1"', "prompt": '"' + "p" * 9_000 + '"'},
        "model": "m1", "updated_at": NOON + 90, "stamps": (Stamp(NOON, "e1", ("comment", "vote")),),
    }  # fmt: skip
    return ResolvedFeedback(**{**fields, **changed})


def test_a_webhook_is_verified_by_the_example_and_by_nothing_that_was_changed() -> None:
    made = request(receiver(), alert(), NOON)
    head, body = dict(made.headers), made.body
    later = {"webhook-timestamp": str(NOON // 1000 + 1)}
    assert verify(SECRET, head, body, NOON / 1000)
    assert not verify(SECRET, head, body + b" ", NOON / 1000)
    assert not verify(SECRET, head, body, NOON / 1000 + 301), "a replay"
    assert not verify(SECRET, {**head, **later}, body, NOON / 1000)
    assert not verify(SECRET, {**head, "webhook-id": "another"}, body, NOON / 1000)
    assert not verify("whsec_" + base64.b64encode(b"x" * 32).decode(), head, body, NOON / 1000)


def test_the_signature_is_that_of_the_convention() -> None:
    """Made with openssl: printf 'msg_1.1614265330.{"test": 2432232314}' | openssl dgst -sha256 -hmac kkk... -binary."""
    wanted = "v1,keC6SK7hva7tpDMHnhgXibnFVk8sNTGJjntgOgwmokc="
    assert sign(b"k" * 32, "msg_1", 1_614_265_330, b'{"test": 2432232314}') == wanted


def test_while_keys_are_exchanged_either_verifies() -> None:
    made = request(replace(receiver(), keys=(b"n" * 32, b"k" * 32)), alert(), NOON)
    for key in (b"n", b"k"):
        secret = "whsec_" + base64.b64encode(key * 32).decode()
        assert verify(secret, made.headers, made.body, NOON / 1000)


def test_a_webhook_says_everything_the_record_says_and_the_same_bytes_again() -> None:
    record = alert()
    first, again = request(receiver(), record, NOON), request(receiver(), record, NOON + 99_000)
    assert first.body == again.body
    assert first.headers["webhook-id"] == again.headers["webhook-id"] == record.alert_id
    content = json.loads(first.body)
    assert content["type"] == "thumbstream.alert.firing"
    assert content["timestamp"] == content["data"]["started_at"] == "2026-01-01T12:00:00.000Z"
    assert content["data"]["ended_at"] is None
    assert set(content["data"]) == set(Alert.__slots__)
    plain = {name: value for name, value in content["data"].items() if not name.endswith("_at")}
    assert plain == {name: getattr(record, name) for name in plain}


def test_a_negative_vote_says_what_stands_under_an_id_that_only_another_vote_changes() -> None:
    content = json.loads(request(receiver(), vote(), NOON).body)
    assert content["type"] == "thumbstream.vote.negative"
    data = content["data"]
    assert (data["request_id"], data["polarity"], data["comment"], data["model"]) == ("r1", -1, "wrong", "m1")
    assert data["shortened"] == ["prompt"]
    assert len(data["metadata"]["prompt"]) == LONGEST_TEXT
    touched = vote(comment="more", updated_at=NOON + 5_000, version=281_474_976_710_699)
    assert vote_id(touched) == vote_id(vote())
    assert vote_id(vote(stamps=(Stamp(NOON, "e2", ("vote",)),))) != vote_id(vote())
    assert vote_id(vote(tenant_id="other")) != vote_id(vote())


@pytest.mark.parametrize("name", ["firing", "resolved"])
def test_an_alertmanager_body_fits_its_published_document(name: str) -> None:
    record = examples("alert")[name].record
    assert isinstance(record, Alert)
    made = request(receiver("alertmanager"), record, NOON)
    assert made.url == "https://hooks.example.com/in/api/v2/alerts"
    (posted,) = valid("alertmanager/post_alerts.json", made.body)
    assert posted["labels"] == {
        "alertname": "model-negative-rate", "tenant": "acme", "severity": "warning", "rollup": "model",
        "model": "gpt-x",
    }  # fmt: skip
    assert posted["startsAt"] < posted["endsAt"]


def test_an_alertmanager_keeps_what_fires_ends_what_is_resolved_and_knows_both_by_the_same_labels() -> None:
    to = receiver("alertmanager", repost=60.0)
    firing, resolved = alert("a", 1), alert("a", 2)
    now = NOON + 3_600_000
    (first,) = valid("alertmanager/post_alerts.json", request(to, firing, now).body)
    (last,) = valid("alertmanager/post_alerts.json", request(to, resolved, now).body)
    assert first["endsAt"] == "2026-01-01T13:10:00.000Z", "ten posts may fail"
    assert last["endsAt"] == "2026-01-01T12:01:00.000Z"
    assert first["labels"] == last["labels"]
    assert first["startsAt"] == last["startsAt"]


def test_an_alertmanager_takes_whatever_a_group_is_called_and_no_group_spoofs_a_label() -> None:
    strange = alert(group=NASTY)
    valid("alertmanager/post_alerts.json", reposting(receiver("alertmanager"), [strange, STALE], NOON).body)
    assert labels(strange)["tenant"] == "acme"
    assert labels(strange)["prompt_id"] == NASTY["prompt-id"]


@pytest.mark.parametrize("subject", [alert("a", 1), alert("a", 2), alert(group={}), alert(group=NASTY), STALE])
def test_a_slack_body_is_within_slacks_limits_and_mentions_nobody(subject: Alert | Notice) -> None:
    content = valid("slack/incoming_webhook.json", request(receiver("slack"), subject, NOON).body)
    assert message(subject).message_id in json.dumps(content["blocks"][-1])


def test_slack_reads_like_a_sentence() -> None:
    content = valid("slack/incoming_webhook.json", request(receiver("slack"), alert(), NOON).body)
    assert content["text"] == "50% negative votes: model=atlas-2 (acme)"
    said = content["blocks"][1]["text"]["text"]
    assert said == (
        "30 of 60 votes in 1 h were negative: at least 30.0%, the threshold is 20.0%."
        " The most negative user gave 10% of them."
    )


def test_the_login_is_sent_and_nothing_secret_is_shown() -> None:
    to = receiver(authorization="Bearer tok-123")
    made = request(to, alert(), NOON)
    assert made.headers["authorization"] == "Bearer tok-123"
    assert "tok-123" not in repr(to) + repr(made)
    assert "/in" not in repr(to) + repr(made)
    assert "kkk" not in repr(to)


def test_the_examples_of_the_page_are_what_is_sent() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "delivery.md").read_text("utf-8")
    shown = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", page, re.DOTALL)]
    records = (examples("alert")["firing"].record, examples("resolved_feedback")["voted"].record)
    for record, wanted in zip(records, shown, strict=True):
        assert isinstance(record, Alert | ResolvedFeedback)
        assert json.loads(request(receiver(), record, NOON).body) == wanted
