"""monitors.toml: what it may say, what is refused with which line and reason, and what travels in the log."""

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from processors.monitor_fields import FIELDS, FieldError, duration, minutes
from processors.monitor_file import MonitorsError, canonical, hash_number, monitor_set, monitors_in, parse
from processors.monitors import BUILT_IN, Monitor
from schemas.events import MonitorSet
from thumbstream.cli import main
from thumbstream.monitors_file import MonitorsFile, MonitorsFileError, load
from thumbstream.telemetry import Metrics

EVERYTHING = """
# both kinds, with every field
[[monitor]]
name = "model-rate"
kind = "threshold"
by = ["environment", "model"]
threshold = 0.25
preset = "strict"
windows = ["1h", "15m", "2d"]
min_votes = 20
hold = "1h"
least_recent = 7
recovery_votes = 9
severity = "critical"
receivers = ["on-call", "chat"]
enabled = false

  [monitor.where]
  tenant = "acme"
  model = ["b", "a"]

[[monitor]]
name = "hourly"
kind = "simple"
windows = ["1h"]
for = "10m"
clear_below = 0.1

[[monitor]]
name = "by-z"
z = 2
"""


def test_every_field_becomes_an_argument() -> None:
    where = (("model", ("a", "b")), ("tenant", ("acme",)))
    assert parse(EVERYTHING) == (
        Monitor(
            "model-rate", ("model", "environment"), 0.25, 3.72, (15, 60, 2880), 20, "critical", 60, 7, 9,
            where=where, receivers=("on-call", "chat"), enabled=False,
        ),
        Monitor("hourly", (), windows=(60,), hold=0, kind="simple", wait=10, clear_below=0.1),
        Monitor("by-z", (), z=2.0),
    )  # fmt: skip


def test_a_name_is_enough_and_means_the_standard_rule_on_the_tenant() -> None:
    assert parse('[[monitor]]\nname = "x"\n') == (Monitor("x", ()),)


def one(line: str) -> str:
    """A file whose third line is `line`."""
    return f'[[monitor]]\nname = "x"\n{line}\n'


SIMPLE = 'kind = "simple"\n'
REFUSED = {
    "a field nobody knows": (one("treshold = 0.3"), 3, "x", "treshold", "unknown; known are name, kind, by, threshold"),
    "a kind nobody knows": (one('kind = "relative"'), 3, "x", "kind", "one of threshold, simple, is 'relative'"),
    "no dimension": (one('by = ["modl"]'), 3, "x", "by", "'modl' is no dimension; there are model"),
    "a dimension twice": (one('by = ["model", "model"]'), 3, "x", "by", "twice"),
    "by as a text": (one('by = "model"'), 3, "x", "by", "must be a list"),
    "a percentage": (one("threshold = 20"), 3, "x", "threshold", "above 0 and below 1, is 20"),
    "a threshold of nothing": (one("threshold = 0"), 3, "x", "threshold", "above 0"),
    "a flag as a number": (one("threshold = true"), 3, "x", "threshold", "must be a number"),
    "no preset": (one('preset = "lax"'), 3, "x", "preset", "sensitive, standard, strict, is 'lax'"),
    "two strengths": (one('z = 3\npreset = "strict"'), 3, "x", "z", "not both"),
    "a window as a number": (one("windows = [15]"), 3, "x", "windows", '"15m", "6h" or "2d", is 15'),
    "no window": (one("windows = []"), 3, "x", "windows", "one window or more"),
    "a window of nothing": (one('windows = ["0m"]'), 3, "x", "windows", "one minute or more"),
    "a window twice": (one('windows = ["1h", "1h"]'), 3, "x", "windows", "twice"),
    "a recent part that is longer still": (one("least_recent = 20000"), 1, "x", "windows", "(or least_recent)"),
    "longer than minutes are kept": (one('windows = ["7d"]'), 3, "x", "windows", "may take 7 days at most"),
    "votes as a text": (one('min_votes = "10"'), 3, "x", "min_votes", "whole number from 1"),
    "no votes": (one("min_votes = 0"), 3, "x", "min_votes", "whole number from 1"),
    "no severity": (one('severity = "page"'), 3, "x", "severity", "info, warning, critical, is 'page'"),
    "a filter that is no table": (one('where = "acme"'), 3, "x", "where", "must be a table"),
    "a filter of no dimension": (one('where = { user = "u" }'), 3, "x", "where", "'user' is no dimension"),
    "a filter outside by": (one('where = { model = "m" }'), 3, "x", "where", "model is not in by"),
    "an empty filter": (one("where = { tenant = [] }"), 3, "x", "where", "tenant must be a text or a list"),
    "receivers as a text": (one('receivers = "chat"'), 3, "x", "receivers", "must be a list"),
    "a receiver without a name": (one('receivers = [""]'), 3, "x", "receivers", "1 to 100 letters"),
    "enabled as a text": (one('enabled = "yes"'), 3, "x", "enabled", "true or false"),
    "for without simple": (one('for = "5m"'), 3, "x", "for", "unknown for kind threshold"),
    "a preset with simple": (one(SIMPLE + 'preset = "strict"'), 4, "x", "preset", "unknown for kind simple"),
    "two windows with simple": (one(SIMPLE + 'windows = ["1h", "2h"]'), 4, "x", "windows", "exactly one window"),
    "clear above fire": (one(SIMPLE + "clear_below = 0.3"), 4, "x", "clear_below", "not be above the threshold 0.2"),
    "no name": ("\n[[monitor]]\nby = []\n", 2, "number 1", "name", "missing"),
    "a name that breaks keys": ('[[monitor]]\nname = "a b"\n', 2, "a b", "name", "1 to 100 letters"),
    "a name twice": (one("") + one(""), 5, "x", "name", "has this name already"),
    "another table": (one("") + "[monitors]\n", 4, "", "monitors", "write [[monitor]]"),
    "one table": ("[monitor]\nname = 'x'\n", 1, "", "monitor", "must be tables"),
    "nothing": ("# nothing yet\n", 1, "", "", "no [[monitor]] in it"),
    "no TOML": (one("threshold = = 2"), 3, "", "", "not TOML: Invalid value"),
}


@pytest.mark.parametrize(("text", "line", "monitor", "field", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_wrong_is_named_with_line_monitor_field_and_reason(
    text: str, line: int, monitor: str, field: str, reason: str
) -> None:
    with pytest.raises(MonitorsError) as caught:
        parse(text)
    (fault,) = caught.value.faults
    assert (fault.line, fault.monitor, fault.field) == (line, monitor, field)
    assert reason in fault.reason


def test_all_faults_are_told_at_once_in_the_order_of_lines() -> None:
    text = one("threshold = 2\nmin_votes = 0") + one('severity = "x"')
    with pytest.raises(MonitorsError) as caught:
        parse(text)
    assert [fault.line for fault in caught.value.faults] == [3, 4, 6, 7]


@pytest.mark.parametrize("monitors", [BUILT_IN, parse(EVERYTHING)], ids=["built-in", "everything"])
def test_what_travels_in_the_log_means_the_same(monitors: tuple[Monitor, ...]) -> None:
    record = monitor_set(monitors)
    assert monitors_in(record) == monitors
    assert monitor_set(monitors_in(record) or ()) == record


def test_the_hash_is_that_of_the_meaning_and_not_of_the_file() -> None:
    other = EVERYTHING.replace("# both", "# Both").replace('["environment", "model"]', '["model", "environment"]')
    assert monitor_set(parse(other)) == monitor_set(parse(EVERYTHING))
    assert monitor_set(parse(EVERYTHING.replace("0.25", "0.26"))).hash != monitor_set(parse(EVERYTHING)).hash


def test_a_hash_is_shown_as_a_number_that_a_gauge_can_hold() -> None:
    assert hash_number(monitor_set(BUILT_IN)) < 2**53


@pytest.mark.parametrize("content", ["", "[]", "{", '{"monitor": []}', '{"monitor": [{"name": "x", "z": 99}]}'])
def test_a_record_that_cannot_be_read_puts_nothing_in_force(content: str) -> None:
    assert monitors_in(MonitorSet("0" * 64, content)) is None


def test_canonical_text_has_every_field_but_those_of_the_other_kind() -> None:
    (threshold,) = parse(one(""))
    for name in FIELDS.keys() - {"preset", "for", "clear_below"}:
        assert f'"{name}":' in canonical([threshold])
    assert '"for":' not in canonical([threshold])


def test_lengths_are_read_and_written_alike() -> None:
    for text in ("0m", "1m", "90m", "6h", "24h", "2d", "25h"):
        assert duration(minutes(text)) == text
    assert duration(minutes("1d")) == "24h"
    for wrong in ("", "5", "5s", "-5m", "1.5h", "5 m", 5):
        with pytest.raises(FieldError, match='"15m"'):
            minutes(wrong)


def test_a_filter_lets_through_what_it_names() -> None:
    from processors.minutes import Group

    (monitor,) = parse(one('by = ["model"]\nwhere = { tenant = ["acme", "b"], model = "m" }'))
    assert monitor.watches(Group("acme", ("model",), ("m",)))
    assert monitor.watches(Group("b", ("model",), ("m",)))
    assert not monitor.watches(Group("c", ("model",), ("m",)))
    assert not monitor.watches(Group("acme", ("model",), ("n",)))
    assert not replace(monitor, enabled=False).watches(Group("acme", ("model",), ("m",)))


def test_the_definition_changes_with_what_decides_and_with_nothing_else() -> None:
    plain = Monitor("x", ("model",))
    assert plain.definition == "683a29be35f75633"  # stands in open alerts: another value ends them all
    for change in (
        {"threshold": 0.3}, {"z": 2.0}, {"windows": (60,)}, {"min_votes": 9}, {"hold": 1}, {"least_recent": 1},
        {"recovery_votes": 1}, {"kind": "simple"}, {"wait": 1}, {"clear_below": 0.1}, {"where": (("tenant", ("a",)),)},
    ):  # fmt: skip
        assert replace(plain, **change).definition != plain.definition
    same = replace(plain, severity="info", receivers=("r",), enabled=False, name="y")
    assert same.definition == plain.definition


def written(folder: Path, text: str) -> Path:
    file = folder / "monitors.toml"
    file.write_text(text)
    return file


def test_check_says_what_is_watched(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["alerts", "check", str(written(tmp_path, EVERYTHING))])
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "model-rate: threshold, by model+environment, above 25%, strict, in 15m, 1h, 2d of 20 votes or more, critical, "
        "only model a or b, only tenant acme, to on-call, chat (switched off)",
        "hourly: simple, whole tenant, above 20%, for 10m, in 1h of 10 votes or more, warning",
        "by-z: threshold, whole tenant, above 20%, 2, in 15m, 1h, 6h, 24h of 10 votes or more, warning",
    ]


def test_check_names_file_and_line_of_all_that_is_wrong(tmp_path: Path) -> None:
    file = written(tmp_path, one("threshold = 2\nmin_votes = 0"))
    done = CliRunner().invoke(main, ["alerts", "check", str(file)])
    assert done.exit_code == 1
    assert done.stderr.splitlines() == [
        f"{file}:3: monitor x: threshold: must be a number above 0 and below 1, is 2",
        f"{file}:4: monitor x: min_votes: must be a whole number from 1 to 1000000, is 0",
    ]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for file, reason in ((tmp_path / "no.toml", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(MonitorsFileError, match=reason):
            load(file)
    (tmp_path / "latin.toml").write_bytes(b"\xff")
    with pytest.raises(MonitorsFileError, match="not UTF-8"):
        load(tmp_path / "latin.toml")


def test_without_a_file_the_built_in_monitors_hold() -> None:
    assert load(None) == BUILT_IN


def test_a_running_worker_reads_the_file_when_asked_and_a_wrong_one_changes_nothing(tmp_path: Path) -> None:
    metrics, path = Metrics(), written(tmp_path, one(""))
    file = MonitorsFile(path, metrics)
    assert file.first == (Monitor("x", ()),)
    written(tmp_path, one("threshold = 0.3"))
    assert file.news() is None
    file.ask()
    assert file.news() == (Monitor("x", (), 0.3),)
    assert file.news() is None
    written(tmp_path, one("threshold = 3"))
    file.ask()
    assert file.news() is None
    assert metrics.value("monitor_reloads", result="taken") == 1
    assert metrics.value("monitor_reloads", result="refused") == 1
