"""Every sample of the vendors' documentation, with host and key changed: the documented reply, and what is stored."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.memory_gateway import MemoryGateway
from tests.fixtures.vendor_samples import DIRECTORY, Player, Sample, SampleError, load, samples


@pytest.mark.parametrize("sample", samples(), ids=lambda sample: sample.name)
def test_a_vendors_sample_gets_its_reply_and_is_stored(sample: Sample, tmp_path: Path) -> None:
    gateway = MemoryGateway(tmp_path)
    player = Player(sample, gateway.key)
    player.play(lambda request: gateway.send(request.method, request.path, request.headers, request.content))
    player.compare_events(gateway.events)


GOOD: dict[str, Any] = {
    "sample": "a page",
    "exchanges": [
        {
            "request": {"method": "POST", "path": "/x", "headers": {}, "body": {}},
            "reply": {"status": 200, "headers": {}},
        }
    ],
    "events": [{"request_id": "r", "kind": "vote", "source": "x"}],
}


def written(directory: Path, document: Any) -> Path:
    path = directory / "sample.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def test_a_complete_golden_file_is_read(tmp_path: Path) -> None:
    assert load(written(tmp_path, GOOD)).events == tuple(GOOD["events"])


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({**GOOD, "repyl": {}}, "repyl"),
        ({name: value for name, value in GOOD.items() if name != "events"}, "events is missing"),
        ({**GOOD, "events": [{**GOOD["events"][0], "polarity": 1}]}, "polarity"),
        ({**GOOD, "exchanges": [{**GOOD["exchanges"][0], "wait": 1}]}, "wait"),
        ({**GOOD, "exchanges": []}, "no exchange"),
        ('{"sample": "", "sample": "", "exchanges": [], "events": []}', "twice"),
    ],
)
def test_a_golden_file_with_a_slip_is_refused_by_name(tmp_path: Path, document: Any, message: str) -> None:
    with pytest.raises(SampleError, match=message):
        load(written(tmp_path, document))


def test_a_difference_is_found(tmp_path: Path) -> None:
    """The player is no yes-man: a wrong status, type or placeholder fails."""
    player = Player(load(written(tmp_path, GOOD)), "k")
    player.compare("a", "<id>", "1")
    for wanted, found in (("<id>", "2"), (1, True), ({"a": 1}, {"a": 1, "b": 2}), (["<uuid:u>"], [""]), ("x", None)):
        with pytest.raises(AssertionError):
            player.compare("a", wanted, found)


def test_every_vendor_has_samples() -> None:
    assert {"helicone", "requesty", "cohere", "portkey"} <= {path.name for path in DIRECTORY.iterdir()}
