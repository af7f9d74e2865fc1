"""receivers.toml: what it may say, what is refused with receiver and field, and who is told of what."""

from dataclasses import replace

import pytest

from schemas.events import ResolvedFeedback, Vote
from sinks.batch import Source
from sinks.delivery.queue import Queue
from sinks.delivery.receivers import Receiver, Receivers, ReceiversError, parse, routed
from sinks.delivery.subscription import wants_alert, wants_vote
from sinks.delivery.votes import Votes
from tests.simulators.delivery import NOON, alert, receiver, source

SECRET = "whsec_" + "a2tr" * 8
WEBHOOK = f'[[receiver]]\nname = "ops"\nkind = "webhook"\nurl = "https://example.com/in"\nsecret = "{SECRET}"\n'
SLACK = '[[receiver]]\nname = "chat"\nkind = "slack"\nurl_env = "CHAT_URL"\n'
MANAGER = '[[receiver]]\nname = "am"\nkind = "alertmanager"\nurl = "http://am:9093"\nallow_private = true\n'


def read(text: str, environment: dict[str, str] | None = None, **files: str) -> Receivers:
    def content(name: str) -> str:
        if name not in files:
            raise FileNotFoundError(name)
        return files[name]

    return parse(text, environment or {"CHAT_URL": "https://hooks.slack.com/services/T0/B0/xyz"}, content)


def test_each_kind_is_read_with_its_defaults() -> None:
    ops, chat, am = read(WEBHOOK + SLACK + MANAGER).receivers
    assert (ops.kind, ops.keys, set(ops.events), ops.severity) == ("webhook", (b"kkk" * 8,), {"alert"}, "info")
    assert (ops.timeout, ops.give_up_after, ops.monitors, ops.allow_private) == (10.0, 43_200.0, None, False)
    assert (chat.url, chat.host) == ("https://hooks.slack.com/services/T0/B0/xyz", "hooks.slack.com")
    assert (am.url, am.repost) == ("http://am:9093", 60.0)
    assert read("").stale_after == 300


def test_secrets_come_from_the_environment_or_a_file_and_several_keys_may_be_in_force() -> None:
    text = WEBHOOK.replace(f'secret = "{SECRET}"', 'secret_file = "key"') + 'authorization_env = "LOGIN"\n'
    another = "whsec_" + "bm5u" * 8
    (ops,) = read(text, {"LOGIN": "Bearer abc"}, key=f"{another} {SECRET}\n").receivers
    assert ops.keys == (b"nnn" * 8, b"kkk" * 8)
    assert ops.authorization == "Bearer abc"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x = 1", "unknown name x"),
        ("[receiver]\nname = 'a'", "[[receiver]]"),
        ("not toml", "no TOML"),
        ("[[receiver]]\nkind = 'slack'", "receiver 1: name must be"),
        ("[[receiver]]\nname = 'a b'", "receiver 1: name must be"),
        ("[[receiver]]\nname = 'a'\nkind = 'mail'", "receiver a: kind must be one of webhook, slack, alertmanager"),
        (WEBHOOK + "retries = 3", "receiver ops: unknown field retries for kind webhook"),
        (WEBHOOK + "repost = '1m'", "receiver ops: unknown field repost for kind webhook"),
        (WEBHOOK + "url_env = 'X'", "receiver ops: give url or url_env, not both"),
        (WEBHOOK.replace("https://example.com/in", "example.com"), "receiver ops: url must be given"),
        (WEBHOOK.replace("https://example.com/in", "ftp://example.com"), "receiver ops: url must be given"),
        (WEBHOOK.replace("https://example.com/in", "https://[::1"), "receiver ops: url must be given"),
        (WEBHOOK.replace("https://", "https://me:pw@"), "receiver ops: url must hold no login"),
        (WEBHOOK.replace("https", "http"), "receiver ops: url must be https"),
        (WEBHOOK.replace("example.com", "127.0.0.1"), "receiver ops: url leads to an address that is not public"),
        (
            WEBHOOK.replace("example.com", "[::ffff:10.0.0.1]"),
            "receiver ops: url leads to an address that is not public",
        ),
        (WEBHOOK.replace("example.com", "localhost:9093"), "receiver ops: url leads to an address that is not public"),
        (WEBHOOK.replace("example", "exämple"), "receiver ops: url must be printable ASCII"),
        (WEBHOOK.replace(f'secret = "{SECRET}"', ""), "receiver ops: a webhook needs a secret"),
        (WEBHOOK.replace("whsec_", "whsec_!"), "receiver ops: secret must be whsec_"),
        (WEBHOOK.replace(SECRET, "whsec_YWJj"), "receiver ops: secret must be whsec_"),
        (
            WEBHOOK + "events = ['alerts']",
            "receiver ops: events must be some of alert, negative_vote, evaluation_stale",
        ),
        (MANAGER + "events = ['negative_vote']", "receiver am: events: only a webhook"),
        (WEBHOOK + "severity = 'high'", "receiver ops: severity must be one of info, warning, critical"),
        (WEBHOOK + "tenants = 'acme'", "receiver ops: tenants must be a list of names"),
        (WEBHOOK + "allow_private = 'yes'", "receiver ops: allow_private must be true or false"),
        (WEBHOOK + "timeout = 10", "receiver ops: timeout must be a time"),
        (WEBHOOK + "give_up_after = '24h'", "receiver ops: give_up_after must be a time from 1 s to 82800 s"),
        (WEBHOOK + WEBHOOK, "receiver ops: there are two"),
        (SLACK.replace("CHAT_URL", "NO_SUCH"), "receiver chat: url_env: the environment has no NO_SUCH"),
        (SLACK.replace("url_env", "url_file"), "receiver chat: url_file: cannot read CHAT_URL"),
        ("stale_after = '1s'", "the file: stale_after must be a time"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_receiver_and_field_and_tells_no_secret(
    text: str, sentence: str
) -> None:
    with pytest.raises(ReceiversError) as refused:
        read(text)
    assert sentence in str(refused.value)
    assert not any(secret in str(refused.value) for secret in ("a2tr", "xyz", "pw@"))


def test_an_alert_goes_to_whoever_asked_for_its_tenant_monitor_and_severity() -> None:
    told = alert()
    assert wants_alert(receiver(), told)
    assert wants_alert(receiver(tenants=frozenset({"acme"})), told)
    assert not wants_alert(receiver(tenants=frozenset({"other"})), told)
    assert wants_alert(receiver(severity="warning"), told)
    assert not wants_alert(receiver(severity="critical"), told)
    assert wants_alert(receiver(severity="critical"), alert(severity="a word of a later release"))
    assert wants_alert(receiver(monitors=frozenset({"model-negative-rate"})), told)
    assert not wants_alert(receiver(monitors=frozenset()), told)
    assert not wants_alert(receiver(events=frozenset({"negative_vote"})), told)


def test_monitors_that_name_receivers_say_what_these_get_unless_they_say_it_themselves() -> None:
    plain, own, unnamed = receiver(), replace(receiver(), name="own", monitors=frozenset({"m9"})), receiver()
    whole = Receivers((plain, own, replace(unnamed, name="all")))
    chosen = routed(whole, {"ops": ["m1", "m2"], "own": ["m1"]})
    assert [one.monitors for one in chosen.receivers] == [{"m1", "m2"}, {"m9"}, None]
    with pytest.raises(ReceiversError, match="no receiver nobody: the file has ops, own, all"):
        routed(whole, {"nobody": ["m1"]})


def row(polarity: int = -1, **changed: object) -> ResolvedFeedback:
    fields = {"vote": Vote(polarity), "updated_at": NOON + 1_000, **changed}
    return ResolvedFeedback(1, False, NOON, "acme", "r1", **fields)  # type: ignore[arg-type]  # each test names its own


def test_a_vote_is_told_when_it_is_negative_explicit_and_new() -> None:
    to: Receiver = receiver(events=frozenset({"negative_vote"}), max_age=3_600.0)
    assert wants_vote(to, row())
    assert not wants_vote(to, row(1))
    assert not wants_vote(to, row(0))
    assert not wants_vote(to, replace(row(), erased=True))
    assert not wants_vote(to, row(vote=None, implicit=Vote(-1)))
    assert not wants_vote(to, row(updated_at=NOON + 3_600_001)), "an old vote whose row was touched"
    assert not wants_vote(replace(to, tenants=frozenset({"other"})), row())
    assert not wants_vote(receiver(), row())


def test_a_vote_is_told_once_however_often_its_row_changes_and_again_when_it_is_another() -> None:
    from schemas.events import Stamp

    votes = Votes(lambda one: wants_vote(receiver(events=frozenset({"negative_vote"})), one), remembered=2)
    place = source(alert(), 7)

    def told(request: str, event: str, polarity: int = -1) -> bool:
        one = replace(row(polarity), request_id=request, stamps=(Stamp(NOON, event, ("vote",)),))
        parcel = votes.take(place, one)
        assert parcel.commit == 8
        return parcel.record is not None

    assert told("r1", "e1")
    assert not told("r1", "e1")
    assert not told("r1", "e2", polarity=1)
    assert told("r1", "e3")
    assert told("r2", "e1")
    assert told("r3", "e1")
    assert told("r1", "e1"), "forgotten, so told again: its id is the same"


def test_a_vote_that_was_read_but_not_told_is_news_when_it_is_read_again() -> None:
    votes = Votes(lambda one: wants_vote(receiver(events=frozenset({"negative_vote"})), one))
    place, queue = source(alert(), 7), Queue(60.0)
    other = Source(place.topic, place.partition + 1, 3, place.append_time, None, None)
    kept, lost = replace(row(), request_id="kept"), replace(row(), request_id="lost")
    queue.add([votes.take(other, kept), votes.take(place, lost)])
    votes.untold(queue.drop(place.topic, {place.partition}))
    assert len(queue) == 1
    assert votes.take(place, lost).record == lost
    assert votes.take(other, kept).record is None
