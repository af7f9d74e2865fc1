"""What filters mean: for any filter ClickHouse finds the rows that a few lines of Python find."""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.events import ResolvedFeedback, Stamp, Vote
from tests.fixtures.clickhouse import ClickHouse
from tests.fixtures.query_console import query_console

pytestmark = pytest.mark.integration
EXAMPLES = 1_000 if os.environ.get("HYPOTHESIS_PROFILE") == "search" else 60
START = 1_772_442_000_000  # 2026-03-02T09:00Z, in ms
TEXTS = [
    "a",
    "A",
    "ab",
    "b_",
    "50%",
    "a\\b",
    "\u00e4",
    "\u00c4",
    "x'y",
    "null",
    "a\nb",
    "%",
    "\\",
    "\u65e5\u672c",
    "{p0:String}",
]


@dataclass(frozen=True)
class Fact:
    """A request as everybody knows it; `rating` None with `voted` is a neutral vote."""

    id: str
    rating: bool | None = None
    voted: int | None = None
    implicit: int | None = None
    user: str | None = None
    model: str | None = None
    created: int = START
    metadata: dict[str, str] = field(default_factory=dict)

    def row(self, number: int) -> ResolvedFeedback:
        vote = None if self.voted is None else Vote({True: 1, False: -1, None: 0}[self.rating])
        implicit = None if self.implicit is None else Vote(self.implicit)
        return ResolvedFeedback(
            number + 1, False, self.voted, "acme", self.id, vote, implicit,
            user_id=self.user, model=self.model, metadata=self.metadata, first_seen=self.created, updated_at=START,
            stamps=(Stamp(START, "e", ("implicit",)),) if implicit else (),
        )  # fmt: skip


def fact(number: int) -> Fact:
    """One of the requests: the texts above in all places, every kind of vote."""
    text, other = TEXTS[number % len(TEXTS)], TEXTS[(number * 7 + 3) % len(TEXTS)]
    bare = {"plan": text, "it's": other, "status": ["200", "404", "abc", "-1.5", ""][number % 5]}
    metadata = {key: f'"{value}"'.replace("\\", "\\\\").replace("\n", "\\n") for key, value in bare.items()}
    if number % 4 == 0:
        metadata = {"score.acc": str(number), "score.ok": "true" if number % 8 else "false"}
    rated = number % 3
    return Fact(
        f"r{number}",
        rating=[True, False, None][number % 5 % 3] if rated else None,
        voted=START + number * 1_000 if rated else None,
        implicit=-1 if number % 6 == 0 else None,
        user=text if number % 2 else None,
        model=other if number % 5 else None,
        created=START + number % 4 * 500,
        metadata=metadata,
    )


FACTS = [*(fact(number) for number in range(30)), replace(fact(30), id="session:mine")]
SESSION = Fact("session:s1", rating=False, voted=START, metadata={"target": '"session"'})  # no request: in no answer


def bare(fact: Fact, key: str) -> str | None:
    text = fact.metadata.get(key)
    return text if text is None or not text.startswith('"') else text[1:-1].replace("\\n", "\n").replace("\\\\", "\\")


def number_of(text: str | None) -> float | None:
    return float(text) if text is not None and re.fullmatch(r"-?\d+(\.\d+)?", text) else None


def score(fact: Fact, key: str) -> float | None:
    if key == "helicone-score-feedback":
        return None if fact.rating is None else float(fact.rating)
    text = bare(fact, f"score.{key}")
    return {"true": 1.0, "false": 0.0}.get(text or "", number_of(text))


PLAIN: dict[tuple[str, str], Callable[[Fact], Any]] = {
    ("feedback", "rating"): lambda fact: fact.rating,
    ("request_response_rmt", "helicone-score-feedback"): lambda fact: fact.rating,
    ("feedback", "created_at"): lambda fact: fact.voted,
    ("request", "created_at"): lambda fact: fact.created,
    ("request_response_rmt", "request_created_at"): lambda fact: fact.created,
    ("request", "id"): lambda fact: fact.id,
    ("request", "user_id"): lambda fact: fact.user,
    ("request_response_rmt", "model"): lambda fact: fact.model,
    ("response", "status"): lambda fact: number_of(bare(fact, "status")),
}
TIMES = [("feedback", "created_at"), ("request", "created_at"), ("request_response_rmt", "request_created_at")]
RATINGS = [("feedback", "rating"), ("request_response_rmt", "helicone-score-feedback")]
NUMBERS = [("response", "status")]
WORDS = sorted(PLAIN.keys() - {*TIMES, *RATINGS, *NUMBERS})


def pattern(like: str) -> str:
    """A LIKE pattern as a regular expression."""
    parts = re.findall(r"\\[\\%_]|.", like, re.DOTALL)
    wild = {"%": ".*", "_": "."}
    return "".join(wild.get(part) or re.escape(part[-1]) for part in parts)


def compared(operator: str, value: Any, wanted: Any) -> bool:
    if wanted == "null" and operator in ("equals", "not-equals"):
        return (value is None) == (operator == "equals")
    if operator.startswith("not-"):
        return not compared(operator.removeprefix("not-"), value, wanted)
    if value is None:
        return False
    match operator:
        case "contains":
            return wanted.lower() in value.lower()
        case "like" | "ilike":
            flags = re.DOTALL | (re.IGNORECASE if operator == "ilike" else re.NOFLAG)
            return re.fullmatch(pattern(wanted), value, flags) is not None
    return bool({
        "equals": value == wanted, "gt": operator == "gt" and value > wanted, "lt": operator == "lt" and value < wanted,
        "gte": operator == "gte" and value >= wanted, "lte": operator == "lte" and value <= wanted,
    }[operator])  # fmt: skip


def milliseconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp() * 1_000


def holds(tree: Any, fact: Fact) -> bool:
    """The meaning of a filter, said once more."""
    if tree == "all":
        return True
    if "left" in tree:
        sides = holds(tree["left"], fact), holds(tree["right"], fact)
        return all(sides) if tree["operator"] == "and" else any(sides)
    return all(leaf_holds(table, content, fact) for table, content in tree.items())


def leaf_holds(table: str, content: Any, fact: Fact) -> bool:
    if table == "properties":
        return all(operators_hold(operators, bare(fact, key)) for key, operators in content.items())
    for column, inner in content.items():
        if column == "scores":
            if not all(operators_hold(operators, score(fact, key)) for key, operators in inner.items()):
                return False
        elif not operators_hold(inner, PLAIN[table, column](fact), (table, column) in TIMES):
            return False
    return True


def operators_hold(operators: dict[str, Any], value: Any, is_time: bool = False) -> bool:
    def wanted(given: Any) -> Any:
        return milliseconds(given) if is_time and given != "null" else given

    return all(compared(operator, value, wanted(given)) for operator, given in operators.items())


COMPARED = ["equals", "not-equals", "gt", "gte", "lt", "lte"]
VALUES = st.one_of(st.sampled_from(TEXTS), st.text(st.sampled_from("aAbB%_\\'\n\u00e4"), max_size=3))
EQUALLY = ("equals", "not-equals")


def operators(names: list[str], values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    some = st.dictionaries(st.sampled_from(names), values, min_size=1, max_size=2)
    return st.one_of(some, st.dictionaries(st.sampled_from(EQUALLY), st.just("null"), min_size=1, max_size=1))


def usable(comparisons: dict[str, Any]) -> bool:
    """No pattern that ends in half an escape."""
    likes = [text for name, text in comparisons.items() if name.endswith("like")]
    return not any((len(text) - len(text.rstrip("\\"))) % 2 for text in likes)


TEXT = operators(["equals", "not-equals", "like", "ilike", "contains", "not-contains"], VALUES).filter(usable)
NUMBER = operators(COMPARED, st.sampled_from([200, 404.0, -1.5, 0, 1, 12]))
MOMENTS = st.integers(-1, 30).map(lambda n: datetime.fromtimestamp(START / 1_000 + n / 2, UTC).isoformat())
TIME = operators(COMPARED, MOMENTS)
BOOLEAN = operators(["equals", "not-equals"], st.booleans())


def at(places: list[tuple[str, str]], comparisons: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(lambda place, found: {place[0]: {place[1]: found}}, st.sampled_from(places), comparisons)


LEAVES = st.one_of(
    st.sampled_from(["all", {}]),
    at(WORDS, TEXT),
    at(NUMBERS, NUMBER),
    at(TIMES, TIME),
    at(RATINGS, BOOLEAN),
    st.builds(lambda key, found: {"properties": {key: found}}, st.sampled_from(["plan", "it's", "none"]), TEXT),
    st.builds(
        lambda key, found: {"request_response_rmt": {"scores": {key: found}}},
        st.sampled_from(["acc", "ok", "helicone-score-feedback"]),
        NUMBER,
    ),
    st.builds(lambda user, plan: {"request": {"user_id": user}, "properties": {"plan": plan}}, TEXT, TEXT),
)
TREES = st.recursive(
    LEAVES,
    lambda node: st.fixed_dictionaries({"left": node, "operator": st.sampled_from(["and", "or"]), "right": node}),
    max_leaves=4,
)


@pytest.fixture(scope="module")
def ask(
    clickhouse: ClickHouse, unique: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., httpx.Response]]:
    with query_console(clickhouse, unique("query"), tmp_path_factory.mktemp("query")) as console:
        console.store([fact.row(number) for number, fact in enumerate([*FACTS, SESSION])])
        yield console.client("acme")


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(tree=TREES)
def test_a_filter_finds_the_rows_it_describes(ask: Callable[..., httpx.Response], tree: Any) -> None:
    reply = ask("POST", "/query", {"filter": tree, "limit": 1000, "sort": {"created_at": "asc"}})
    assert reply.status_code == 200, reply.text
    wanted = sorted((fact.created, fact.id) for fact in FACTS if holds(tree, fact))
    assert [row["request_id"] for row in reply.json()["data"]] == [name for _, name in wanted]


@pytest.mark.parametrize("operator", ["equals", "not-equals", "like", "ilike", "contains", "not-contains"])
def test_every_text_operator_means_the_same_for_every_text(ask: Callable[..., httpx.Response], operator: str) -> None:
    """Chance seldom meets a text that tells one operator from the next."""
    for text in [*TEXTS, "B", "%A%", "_", "a\\_", "\\%"]:
        tree = {"request": {"user_id": {operator: text}}}
        if usable(tree["request"]["user_id"]):
            reply = ask("POST", "/query", {"filter": tree, "limit": 1000})
            assert reply.status_code == 200, reply.text
            found = sorted(row["request_id"] for row in reply.json()["data"])
            assert found == sorted(fact.id for fact in FACTS if holds(tree, fact)), tree


@pytest.mark.parametrize("path", ["/query", "/query-clickhouse"])
def test_pages_join_without_gap_or_overlap(ask: Callable[..., httpx.Response], path: str) -> None:
    body = {"filter": "all", "limit": 7, "sort": {"created_at": "desc"}}
    pages = [ask("POST", path, {**body, "offset": offset}).json()["data"] for offset in range(0, 35, 7)]
    found = [row["request_id"] for page in pages for row in page]
    assert found == [fact.id for fact in sorted(FACTS, key=lambda fact: (-fact.created, fact.id))]


@pytest.mark.parametrize(
    "sort",
    [{"cost": "asc"}, {"properties": {"plan": "desc"}}, {"user_id": "asc"}, {"random": True}, {"latency": "desc"}],
)
def test_any_order_gives_every_row_once_and_those_without_the_value_last(
    ask: Callable[..., httpx.Response], sort: dict[str, Any]
) -> None:
    rows = ask("POST", "/query", {"filter": "all", "limit": 1000, "sort": sort}).json()["data"]
    assert sorted(row["request_id"] for row in rows) == sorted(fact.id for fact in FACTS)
    if "user_id" in sort:
        users = [row["request_user_id"] for row in rows]
        told = [user for user in users if user is not None]
        assert users == sorted(told, key=str.encode) + [None] * (len(users) - len(told))


def test_scored_are_rated_requests_and_those_with_another_score(ask: Callable[..., httpx.Response]) -> None:
    rows = ask("POST", "/query", {"filter": "all", "limit": 1000, "isScored": True}).json()["data"]
    scored = [fact.id for fact in FACTS if fact.rating is not None or "score.acc" in fact.metadata]
    assert sorted(row["request_id"] for row in rows) == sorted(scored)
    assert all(row["scores"] for row in rows)


def test_rows_ids_and_counts_say_the_same(ask: Callable[..., httpx.Response]) -> None:
    tree = {"feedback": {"rating": {"equals": False}}}
    rows = ask("POST", "/query", {"filter": tree, "limit": 1000}).json()["data"]
    wanted = sorted(fact.id for fact in FACTS if fact.rating is False)
    assert sorted(row["request_id"] for row in rows) == wanted
    assert ask("POST", "/count/query", {"filter": tree}).json() == {"data": len(wanted), "error": None}
    by_ids = ask("POST", "/query-ids", {"requestIds": [*wanted, "nobody", wanted[0]]}).json()["data"]
    assert by_ids == rows
    assert ask("GET", f"/{wanted[0]}").json()["data"] == next(row for row in rows if row["request_id"] == wanted[0])
    for none in ("nobody", SESSION.id):
        assert ask("GET", f"/{none}").json() == {"data": None, "error": "Request not found"}
    assert ask("GET", "/session:mine").json()["data"]["request_id"] == "session:mine"
