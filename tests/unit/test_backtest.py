"""Backtests of a file: what is read, what is put in, what is said and drawn."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner, Result

from processors.minutes import Group
from processors.monitors import BUILT_IN, Monitor
from schemas.events import MinuteCount, Progress
from sinks.rows import ALERTS
from thumbstream.backtest.incidents import Detection, IncidentError, detections, inject, parse
from thumbstream.backtest.run import backtest
from thumbstream.backtest.series import Bucket, series, width_for
from thumbstream.backtest.summary import Line, episodes, lines
from thumbstream.backtest.tallies import MINUTE, Tally, log
from thumbstream.cli import main

BEGIN = 25_000_000  # a minute: 2017-07-14 10:40 UTC
NONE = ("(none)",) * 4
TENANT = Monitor("tenant", ())


def votes(minute: int, negative: int, positive: int, model: str = "m", user: str = "") -> Tally:
    return Tally(BEGIN + minute, "acme", (model, *NONE), user, negative, positive)


def test_the_log_holds_counts_of_each_minute_and_a_mark_behind_them() -> None:
    entries = list(log([votes(0, 1, 0, user="u"), votes(0, 1, 2, "n"), votes(7, 0, 1)], ((), ("model",)), BEGIN + 9))
    shown = [
        (one.rollup, one.group, one.minute // MINUTE - BEGIN, one.negative, one.positive, dict(one.top_negative_users))
        if isinstance(one, MinuteCount)
        else one.watermark // MINUTE - BEGIN
        for _, one in entries
    ]
    assert shown == [
        0,
        ("tenant", (), 0, 2, 2, {"": 1, "u": 1}),
        ("model", ("m",), 0, 1, 0, {"u": 1}),
        ("model", ("n",), 0, 1, 2, {"": 1}),
        1,
        ("tenant", (), 7, 0, 1, {}),
        ("model", ("m",), 7, 0, 1, {}),
        8,
        9,
    ]
    assert all(isinstance(one, MinuteCount | Progress) for _, one in entries)


def test_without_votes_there_is_no_log() -> None:
    assert list(log([], ((),), BEGIN)) == []


def test_a_backtest_fires_and_ends_like_watch() -> None:
    found = backtest([TENANT], [votes(0, 10, 0), votes(30, 0, 90)], BEGIN + 2_000)
    assert [(alert.status, alert.evaluated_at // MINUTE - BEGIN) for alert in found] == [
        ("firing", 1), ("resolved", 60),
    ]  # fmt: skip


REFUSED_INCIDENTS = {
    "hours=4": "rate: missing",
    "rate=0.5": "hours: missing",
    "rate=2,hours=4": "rate: must be above 0 and at most 1",
    "rate=x,hours=4": "rate: 'x' is not a number",
    "rate=0.5,hours=0": "hours: must be above 0",
    "rate=0.5,hours=4,every=3": "every: must not be shorter",
    "rate=0.5,hours=4,colour=red": "colour: unknown",
    "rate": "'rate': write NAME=VALUE",
    "model=,rate=0.5,hours=1": "'model=': write NAME=VALUE",
}


@pytest.mark.parametrize(("text", "reason"), REFUSED_INCIDENTS.items())
def test_an_incident_that_cannot_be_read_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(IncidentError, match=reason):
        parse(text)


def test_an_incident_turns_votes_of_its_groups_bad_while_it_lasts() -> None:
    incident = parse("model=m,rate=1,hours=2,every=100")
    plain = [votes(minute, 0, 3, model) for minute in range(0, 20_000, 30) for model in ("m", "n")]
    changed = inject(plain, incident, Random(1))
    begins = incident.begins(plain[0].minute, plain[-1].minute + 1)
    assert begins == [BEGIN + 2_880, BEGIN + 8_880, BEGIN + 14_880]
    for before, after in zip(plain, changed, strict=True):
        hit = before.values[0] == "m" and any(begin <= before.minute < begin + 120 for begin in begins)
        assert after == (before._replace(negative=3, positive=0) if hit else before)


def test_no_incident_begins_that_history_does_not_hold_whole() -> None:
    incident = parse("rate=1,hours=2")
    plain = [votes(0, 0, 1), votes(2_880 + 60, 0, 1)]
    assert incident.begins(plain[0].minute, plain[-1].minute + 1) == []
    assert inject(plain, incident, Random(1)) == plain
    assert inject([], incident, Random(1)) == []


def test_the_rate_of_an_incident_is_that_of_its_votes() -> None:
    incident = parse("rate=0.5,hours=1000,every=1001")
    changed = inject([votes(minute, 1, 1) for minute in range(0, 70_000, 10)], incident, Random(1))
    during = [one for one in changed if 2_880 <= one.minute - BEGIN < 62_880]
    assert sum(one.negative for one in during) / (2 * len(during)) == pytest.approx(0.5, abs=0.02)


def test_found_is_what_fires_while_the_incident_lasts_on_a_group_it_touches() -> None:
    incident = parse("model=m,rate=1,hours=1,every=100")
    by_model = Monitor("model", ("model",))
    begin = BEGIN + 2_880
    quiet = [votes(2_870, 0, 5), votes(2_870, 0, 5, "n")]
    bad = [votes(2_885, 20, 0)]
    others = [votes(2_885, 20, 0, "n")]
    for tallies, found in (([*quiet, *bad], (1, 6.0)), ([*quiet, *others], (0, None))):
        alerts = backtest([by_model, TENANT], tallies)
        result = detections(["model", "tenant", "none"], alerts, incident, [begin])
        assert result["model"] == Detection(1, *found[:1], 0, found[1])
        assert result["tenant"] == Detection(1, 1, 0, 6.0)
        assert result["none"] == Detection(1, 0, 0, None)
    already = backtest([by_model], [votes(2_860, 20, 0), *bad])
    assert detections(["model"], already, incident, [begin]) == {"model": Detection(0, 0, 1, None)}


def test_a_summary_counts_episodes_groups_and_lengths() -> None:
    story = [votes(0, 10, 0), votes(30, 0, 90), votes(4_000, 10, 0, "n")]
    found = episodes(backtest([TENANT], story), BEGIN + 4_001)
    assert [(one.begin - BEGIN, one.end - BEGIN, one.open) for one in found] == [(1, 60, False), (4_001, 4_001, True)]
    assert lines([TENANT, Monitor("other", ())], found) == [
        Line("tenant", 2, 1, 29.5, 59, 1), Line("other", 0, 0, None, None, 0),
    ]  # fmt: skip


def test_a_series_sums_votes_in_buckets() -> None:
    tenant, model = Group("acme", (), ()), Group("acme", ("model",), ("n",))
    found = series([votes(0, 1, 0), votes(4, 1, 1, "n"), votes(5, 0, 1)], [tenant, model], 5)
    assert found == {tenant: [Bucket(BEGIN, 2, 3), Bucket(BEGIN + 5, 0, 1)], model: [Bucket(BEGIN, 1, 2)]}
    low, high = found[tenant][0].band
    assert 0 < low < 2 / 3 < high < 1


def test_buckets_are_wide_enough_not_to_crowd_a_picture() -> None:
    assert [width_for(0, minutes) for minutes in (60, 1440, 30 * 1440, 456 * 1440, 10**8)] == [5, 5, 180, 1440, 10080]


CSV = "voted,id,verdict,bot,person\n" + "".join(
    f"2026-03-02T10:{number:02}:00Z,r{number},{'down' if number < 14 else 'up'},atlas-2,p{number}\n"
    for number in range(20)
)
MAPPING = ("event_time=voted", "request_id=id", "rating=verdict", "metadata.model=bot", "user_id=person")


def run(folder: Path, *options: str, text: str = CSV) -> Result:
    file = folder / "votes.csv"
    file.write_text(text)
    mapping = [argument for pair in MAPPING for argument in ("--map", pair)]
    return CliRunner().invoke(main, ["alerts", "backtest", "--from", str(file), *mapping, *options])


def test_a_file_is_summed_up_for_each_file_of_monitors(tmp_path: Path) -> None:
    for name, threshold in (("a.toml", 0.2), ("b.toml", 0.9)):
        (tmp_path / name).write_text(f'[[monitor]]\nname = "x"\nby = ["model"]\nthreshold = {threshold}\n')
    done = run(tmp_path, "--monitors", str(tmp_path / "a.toml"), "--monitors", str(tmp_path / "b.toml"))
    assert done.exit_code == 0, done.output
    first, head, *rows = done.stdout.splitlines()
    assert first == "20 votes, 14 negative (70.0%), 2026-03-02 to 2026-03-02, 1 day"
    assert head.split() == ["file", "monitor", "alerts", "groups", "median", "longest", "open"]
    assert [row.split() for row in rows] == [
        ["a.toml", "x", "1", "1", "10m", "10m", "1"], ["b.toml", "x", "0", "0", "-", "-", "0"],
    ]  # fmt: skip


def test_json_is_one_transition_a_line_with_the_fields_of_alert_history(tmp_path: Path) -> None:
    done = run(tmp_path, "--json", "--tenant", "acme")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(line["monitor"], line["group"]) for line in lines] == [
        ("tenant-negative-rate", {}), ("model-negative-rate", {"model": "atlas-2"}),
    ]  # fmt: skip
    for line in lines:
        assert set(line) == set(ALERTS.columns) - {"version"}
        assert (line["status"], line["tenant_id"]) == ("firing", "acme")
        assert (line["started_at"], line["ended_at"]) == ("2026-03-02T10:10:00.000Z", None)


def test_without_monitors_the_built_in_ones_are_taken(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert all(f"built-in  {monitor.name}" in done.stdout for monitor in BUILT_IN)


def test_what_is_no_vote_is_counted_by_its_reason_and_left_out(tmp_path: Path) -> None:
    more = "2026-03-02T10:00:00Z,x1,maybe,a,b\n2026-03-02T10:00:00Z,,up,a,b\n2026-03-02T10:30:00Z,r0,up,atlas-2,p0\n"
    done = run(tmp_path, text=CSV + more)
    assert "20 votes, 13 negative" in done.stdout  # r0 changed its mind
    assert "1 records left out: wrong_type" in done.stderr
    assert "1 records left out: missing" in done.stderr


def test_no_votes_and_wrong_options_are_said(tmp_path: Path) -> None:
    assert run(tmp_path, text="voted,id,verdict,bot,person\n").exit_code == 1
    assert run(tmp_path, "--until", "2020-01-01T00:00Z").exit_code == 1
    assert "rate: missing" in run(tmp_path, "--inject", "hours=4").stderr
    (tmp_path / "wrong.toml").write_text("[[monitor]]\n")
    wrong = run(tmp_path, "--monitors", str(tmp_path / "wrong.toml"))
    assert wrong.exit_code == 1
    assert "wrong.toml:1: monitor number 1: name: missing" in wrong.stderr


def test_a_picture_is_one_file_with_everything_in_it(tmp_path: Path) -> None:
    drawn = tmp_path / "picture.html"
    long = "".join(f"2026-03-{day:02}T10:00:00Z,d{day},up,<b>&,p\n" for day in range(3, 30))
    done = run(tmp_path, "--picture", str(drawn), "--inject", "rate=1,hours=24,every=72", text=CSV + long)
    assert done.exit_code == 0, done.output
    text = drawn.read_text("utf-8")
    assert "http" not in text
    page = ET.fromstring(text.removeprefix("<!doctype html>").replace('<meta charset="utf-8">', ""))
    assert [heading.text for heading in page.iter("h2")] == ["tenant  (local)", "model atlas-2 (local)"]
    kinds = [element.get("class") or element.get("fill") for element in page.iter("rect")]
    assert kinds.count("i") == 18  # nine incidents on each of two groups
    assert "b" in kinds
    assert "#c0392b" in kinds
    titles = [element.text or "" for element in page.iter("title")]
    (shown,) = (title for title in titles if title.startswith("built-in tenant-negative-rate: 2026-03-02 10:10 to "))
    assert shown.endswith("10 of 10 in 15 min")
