"""The table of routes: adding to it is all that a dialect needs, and nothing in it writes when it is only looked at."""

from collections.abc import Sequence
from pathlib import Path

from producers.dialects.exchange import Call, Dialect, Problem, Reply, Result, bearer
from producers.dialects.routing import ROUTES, Route
from schemas.events import FeedbackEvent
from tests.fixtures.memory_gateway import MemoryGateway


def _stars(call: Call) -> list[Result]:
    (item,) = call.body.items
    event = {"request_id": call.path["answer"], "score": item.value["stars"], "scale": [1, 5]}
    return [call.event(event, item.original)]


def _told(call: Call, outcome: Sequence[Result]) -> Reply:
    accepted = all(isinstance(result, FeedbackEvent) for result in outcome)
    return Reply(201 if accepted else 422, {"of": call.path["answer"]})


def _sorry(problem: Problem) -> Reply:
    return Reply(problem.status, {"sorry": problem.reason})


def test_a_dialect_of_ones_own_is_a_few_functions_and_a_route(tmp_path: Path) -> None:
    route = Route("PUT", "/stars/{answer}", Dialect("stars", bearer, _stars, _told, _sorry))
    gateway = MemoryGateway(tmp_path, routes=(*ROUTES, route))
    key = {"Authorization": f"Bearer {gateway.key}"}
    requests = [("PUT", key, '{"stars": 5}'), ("PUT", key, '{"stars": 7}'), ("PUT", {}, ""), ("PUT", key, "{")]
    requests.append(("GET", key, ""))
    replies = [gateway.send(method, "/stars/a1", headers, body) for method, headers, body in requests]
    assert [(reply.status_code, reply.json()) for reply in replies] == [
        (201, {"of": "a1"}), (422, {"of": "a1"}), (401, {"sorry": "unauthorized"}), (400, {"sorry": "malformed_json"}),
        (405, {"sorry": "method_not_allowed"}),
    ]  # fmt: skip
    (event,) = gateway.events
    assert (event.request_id, event.polarity, event.original) == ("a1", 1, b'{"stars": 5}')
    assert event.source.startswith("stars/")


def test_nothing_is_ever_written_by_a_get() -> None:
    assert {route.method for route in ROUTES} == {"POST", "PUT", "DELETE"}
