"""Lays what a run published beside the recount: rows, cells, marks, dead letters and alerts. All must be right."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from schemas.codec import Codec
from schemas.events import Alert, DeadLetter, MinuteCount, MonitorSet, Progress, ResolvedFeedback
from schemas.topics import partition_of
from tests.chaos.log import Entry, read
from tests.chaos.plan import Plan
from tests.chaos.recount import NOTHING, CellName, Counts, Recount
from tests.chaos.replay import BruteForce, Transition
from tests.chaos.traffic import EXPECTED

_SHOWN = 3
_LONGEST_GAP = "longest gap between marks of a source partition, ms"


@dataclass(slots=True)
class Verdict:
    """What was counted, and what was wrong, by kind; the first few of each kind in words."""

    counted: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def refute(self, kind: str, *shown: object) -> None:
        """Note one thing that is wrong."""
        self.wrong[kind] += 1
        if len(self.examples[kind]) < _SHOWN:
            self.examples[kind].append(" | ".join(map(str, shown)))

    def hurried(self, mark: Progress, uncovered: tuple[int, int], ahead: int) -> None:
        """A mark is `ahead` ms of an event (offset, time) that it does not cover: it lies."""
        self.refute("lying mark", mark, uncovered, f"by {ahead} ms")

    def __str__(self) -> str:
        lines = [f"counted {dict(self.counted)}", f"wrong {dict(self.wrong)}"]
        return "\n".join([*lines, *(f"{kind}: {text}" for kind, texts in self.examples.items() for text in texts)])


def judge(plan: Plan) -> Verdict:
    """Read all topics of a run that has come to rest, and check every claim that they make."""
    verdict, codec, truth = Verdict(), Codec(), Recount()
    truth.feed(read(plan.bootstrap, plan.topics.events.name))
    verdict.counted["events"] = truth.events
    _rows(verdict, truth, codec, read(plan.bootstrap, plan.topics.latest.name))
    _letters(verdict, truth, codec, plan, read(plan.bootstrap, plan.topics.dead_letters.name))
    minutes: dict[int, list[tuple[int, MinuteCount | Progress]]] = defaultdict(list)
    for entry in read(plan.bootstrap, plan.topics.minutes.name):
        record = codec.decode(entry.value or b"")
        if isinstance(record, MonitorSet):  # all workers of a run have the same, and it holds from the beginning
            verdict.counted["sets of monitors"] += 1
            continue
        assert isinstance(record, MinuteCount | Progress)
        minutes[entry.partition].append((entry.append_time, record))
    _cells(verdict, truth, minutes)
    for partition, records in minutes.items():
        _marks(verdict, truth, plan, partition, records)
    _alerts(verdict, codec, _expected(verdict, minutes), read(plan.bootstrap, plan.topics.alerts.name))
    return verdict


def _rows(verdict: Verdict, truth: Recount, codec: Codec, entries: Iterable[Entry]) -> None:
    newest: dict[bytes, ResolvedFeedback] = {}
    last: dict[bytes, int] = {}
    for entry in entries:
        row = codec.decode_as(ResolvedFeedback, entry.value or b"")
        verdict.counted["row records"] += 1
        if truth.rows.get(entry.key, {}).get(row.version) != row:
            verdict.refute("row record", entry.key, row, truth.rows.get(entry.key, {}).get(row.version))
        if entry.key not in newest or row.version > newest[entry.key].version:
            newest[entry.key] = row
        verdict.counted["row inversions"] += row.version < newest[entry.key].version
        last[entry.key] = row.version
    verdict.counted["rows"] = len(newest)
    for key in truth.rows.keys() | newest.keys():
        if key not in newest or key not in truth.rows or newest[key] != truth.newest(key):
            verdict.refute("row", key, newest.get(key), truth.rows.get(key))
    verdict.counted["keys whose last record is not the newest"] = sum(
        newest[key].version != version for key, version in last.items()
    )


def _letters(verdict: Verdict, truth: Recount, codec: Codec, plan: Plan, entries: Iterable[Entry]) -> None:
    letters: dict[tuple[int, int], DeadLetter] = {}
    for entry in entries:
        letter = codec.decode_as(DeadLetter, entry.value or b"")
        verdict.counted["letter records"] += 1
        place = (letter.partition or 0, letter.offset or 0)
        if entry.key != letter.letter_id.encode() or letters.setdefault(place, letter) != letter:
            verdict.refute("letter conflict", letters[place], letter)
    verdict.counted["refused"] = len(truth.refused)
    for place in letters.keys() | truth.refused.keys():
        letter_made, refused = letters.get(place), truth.refused.get(place)
        if letter_made is None or refused is None or not _tells(letter_made, refused, plan):
            verdict.refute("letter", place, letter_made, refused)


def _tells(letter: DeadLetter, refused: Entry, plan: Plan) -> bool:
    said = (letter.reason.encode(), letter.topic, letter.key, letter.original, letter.stage, letter.failed_at)
    name = plan.topics.events.name
    true = (refused.headers[EXPECTED], name, refused.key, refused.value, "resolve", refused.append_time)
    return said == true and letter.headers == refused.headers


def _cells(verdict: Verdict, truth: Recount, minutes: dict[int, list[tuple[int, MinuteCount | Progress]]]) -> None:
    newest: dict[CellName, MinuteCount] = {}
    for records in minutes.values():
        for _, record in records:
            if isinstance(record, Progress):
                continue
            verdict.counted["cell records"] += 1
            name = _name(record)
            if _counts(record) != truth.cell_at(name, record.version):
                verdict.refute("cell record", record, truth.cell_at(name, record.version))
            if name not in newest or record.version >= newest[name].version:
                newest[name] = record
    verdict.counted["cells"] = len(truth.cells)
    for name in truth.cells.keys() | newest.keys():
        want = truth.cells[name][-1][1] if name in truth.cells else NOTHING
        have = _counts(newest[name]) if name in newest else None
        if want != have:
            verdict.refute("cell", name, have, want)


def _name(record: MinuteCount) -> CellName:
    return (record.tenant_id, record.rollup, record.group, record.minute, record.source_partition)


def _counts(record: MinuteCount) -> Counts:
    users = tuple(sorted(record.top_negative_users.items()))
    return record.negative, record.positive, record.neutral, users


def _marks(
    verdict: Verdict, truth: Recount, plan: Plan, partition: int, records: list[tuple[int, MinuteCount | Progress]]
) -> None:
    """No event older than a mark's watermark may lie behind its offset; cells of all before it must lie before it."""
    seen: dict[CellName, int] = {}
    walked: dict[int, int] = defaultdict(int)
    marked: dict[int, int] = {}
    for append_time, record in records:
        if isinstance(record, MinuteCount):
            name = _name(record)
            seen[name] = max(seen.get(name, 0), record.version)
            continue
        verdict.counted["marks"] += 1
        source = record.source_partition - 1000
        gap = append_time - marked.get(source, append_time)
        verdict.counted[_LONGEST_GAP] = max(gap, verdict.counted[_LONGEST_GAP])
        marked[source] = append_time
        uncovered = truth.appends[source][bisect_left(truth.appends[source], (record.offset, 0)) :][:1]
        ahead = min(record.watermark, append_time) - uncovered[0][1] if uncovered else 0
        if ahead > 0:
            verdict.hurried(record, uncovered[0], ahead)
        touches = truth.touches[source]
        while walked[source] < len(touches) and touches[walked[source]][0] < record.offset:
            offset, name = touches[walked[source]]
            walked[source] += 1
            if _lies_on(name, plan) == partition and seen.get(name, 0) & 0xFFFFFFFFFFFF < offset:
                verdict.refute("mark before its cells", record, offset, name)


def _lies_on(name: CellName, plan: Plan) -> int:
    tenant, rollup, group, _minute, _source = name
    parts = [part.replace("%", "%25").replace("|", "%7C") for part in (tenant, *group)]
    return partition_of("|".join((parts[0], rollup, "|".join(parts[1:]))).encode(), plan.minute_partitions)


def _expected(
    verdict: Verdict, minutes: dict[int, list[tuple[int, MinuteCount | Progress]]]
) -> dict[str, list[tuple[int, Transition]]]:
    """Fingerprint -> (partition, transition) in the order in which they must be published."""
    expected: dict[str, list[tuple[int, Transition]]] = defaultdict(list)
    for partition, records in minutes.items():
        evaluator = BruteForce()
        evaluator.feed(records)
        verdict.counted["ticks"] += len(evaluator.ticks)
        for transition in evaluator.transitions:
            verdict.counted["transitions"] += 1
            verdict.counted[transition.status] += 1
            expected[transition.fingerprint].append((partition, transition))
    return expected


def _alerts(
    verdict: Verdict,
    codec: Codec,
    expected: dict[str, list[tuple[int, Transition]]],
    entries: Iterable[Entry],
) -> None:
    first: dict[str, Alert] = {}
    published: dict[str, list[tuple[int, Transition]]] = defaultdict(list)
    for entry in entries:
        alert = codec.decode_as(Alert, entry.value or b"")
        verdict.counted["alert records"] += 1
        if alert.alert_id in first:
            if first[alert.alert_id] != alert:
                verdict.refute("alert conflict", first[alert.alert_id], alert)
            continue
        first[alert.alert_id] = alert
        published[entry.key.decode()].append((entry.partition, _as_transition(alert)))
        if alert.version != alert.evaluated_at or abs(alert.rate - alert.negative / max(alert.total, 1)) > 1e-9:
            verdict.refute("alert", alert)
    for fingerprint in expected.keys() | published.keys():
        want, have = expected.get(fingerprint, []), published.get(fingerprint, [])
        verdict.counted["alerts"] += 1
        if want != have:
            missing, extra = set(want) - set(have), set(have) - set(want)
            verdict.refute(
                "alert missing" if missing else "alert extra" if extra else "alert order", "want", want, "have", have
            )


def _as_transition(alert: Alert) -> Transition:
    share = alert.top_user_share
    return Transition(
        alert.fingerprint,
        alert.alert_id,
        alert.tenant_id,
        alert.monitor,
        tuple(sorted(alert.group.items())),
        alert.status,
        alert.started_at,
        alert.evaluated_at,
        alert.ended_at,
        alert.window_minutes,
        alert.negative,
        alert.total,
        None if share is None else round(share * alert.negative),
        alert.sequence,
    )
