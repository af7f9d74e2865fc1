"""The audit's answer for people and for programs. Shows ids, counts and times, never what anybody wrote."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from thumbstream.audit.ledger import Difference
from thumbstream.audit.scope import Findings


def document(findings: Findings, seconds: float) -> dict[str, Any]:
    """One object with everything."""
    ledger = findings.ledger
    return {
        "balanced": ledger.balanced,
        "totals": ledger.totals(),
        "accounts": ledger.accounts(),
        "differences": [asdict(item) for item in ledger.differences],
        "checked": ledger.checked,
        "not_judged": ledger.unjudged,
        "cut": {str(partition): offset for partition, offset in findings.cut.items()},
        "offsets_without_a_record": {str(partition): count for partition, count in findings.gaps.items()},
        "lag": findings.lag,
        "seconds_since_progress_mark": findings.mark_age,
        "seconds_since_newest_stored_event": findings.stored_age,
        "seconds": round(seconds, 1),
    }


def not_judged(reason: str, seconds: float) -> dict[str, Any]:
    """The object of an audit that could not tell."""
    return {"balanced": None, "reason": reason, "seconds": round(seconds, 1)}


def lines(findings: Findings, seconds: float) -> Iterator[str]:
    """The same for a terminal."""
    ledger = findings.ledger
    totals = {name: f"{count:,}" for name, count in ledger.totals().items()}
    right = " + ".join(f"{name} {count}" for name, count in totals.items() if name not in ("accepted", "missing"))
    yield f"accepted {totals['accepted']} = {right}" + (f", missing {totals['missing']}" * (totals["missing"] != "0"))
    yield "compared: " + _counts(ledger.checked)
    if ledger.unjudged:
        yield "moved meanwhile and not judged: " + _counts(ledger.unjudged)
    yield f"offsets without a record: {sum(findings.gaps.values()):,}"
    yield f"lag: {_counts(findings.lag)}; {_freshness(findings)}"
    yield from map(_line, ledger.differences)
    outcome = "the books balance" if ledger.balanced else f"kinds of difference: {len(ledger.differences)}"
    yield f"{outcome} ({seconds:.1f} s)"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "nothing"


def _freshness(findings: Findings) -> str:
    mark = "no progress mark" if findings.mark_age is None else f"last progress mark {findings.mark_age:g} s ago"
    stored = "nothing stored" if findings.stored_age is None else f"newest stored event {findings.stored_age:g} s old"
    return f"{mark}, {stored}"


def _line(item: Difference) -> str:
    head = f"{item.hop}: {item.what}: tenant {item.tenant or '-'}, {item.hour}"
    return f"{head}: expected {item.expected:,}, found {item.found:,}\n    " + "\n    ".join(item.examples)
