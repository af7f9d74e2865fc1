"""The body of a query beside its filter, whole statements, and the rows that clients read."""

from dataclasses import replace
from typing import Any

import pytest

from thumbstream.console.clickhouse_reader import bound
from thumbstream.console.filter_tree import EVERYTHING, RefusedQueryError
from thumbstream.console.request_columns import CREATED, PROPERTY, SCORED, SORTS
from thumbstream.console.request_query import Order, RequestQuery, parse_ids, parse_query
from thumbstream.console.request_rows import request_row
from thumbstream.console.request_statements import Statements

# The vendor's 48 fields of a row, then ours.
FIELDS = """
response_id response_created_at response_body response_status response_model request_id request_created_at
request_body request_path request_user_id request_properties request_model model_override helicone_user provider
delay_ms time_to_first_token total_tokens prompt_tokens prompt_cache_write_tokens prompt_cache_read_tokens
completion_tokens reasoning_tokens prompt_audio_tokens completion_audio_tokens cost prompt_id prompt_version
feedback_created_at feedback_id feedback_rating signed_body_url llmSchema country_code asset_ids asset_urls scores
costUSD properties assets target_url model cache_reference_id cache_enabled updated_at request_referrer
ai_gateway_body_mapping storage_location feedback_comment
"""
ROW: dict[str, Any] = {
    "id": "r1", "vote": -1, "kind": "explicit", "words": "", "user": None, "model_name": None, "prompt": None,
    "version": None, "entries": {}, "voted_ms": 1_772_442_000_123, "first_ms": "1772442000000", "updated_ms": 0,
}  # fmt: skip


def refusal(body: object, parse: Any = parse_query) -> str:
    with pytest.raises(RefusedQueryError) as refused:
        parse(body)
    return str(refused.value)


def test_what_is_not_said_is_the_vendors_default() -> None:
    assert parse_query({"filter": "all"}) == RequestQuery(EVERYTHING, 10, 0, Order(CREATED, None, True))


def test_the_vendors_own_example_of_every_field_is_a_query() -> None:
    body = {"filter": {}, "isCached": False, "limit": 10, "offset": 0, "sort": {"created_at": "desc"}}
    assert parse_query({**body, "isScored": False, "isPartOfExperiment": False}) == RequestQuery(EVERYTHING)
    assert parse_query({"filter": "all", "includeInputs": True, "limit": 1000.0}).limit == 1000


def test_scored_requests_are_a_filter_of_their_own() -> None:
    scored = parse_query({"filter": "all", "isScored": True}).filter
    assert SCORED.sql in Statements("v").count("acme", scored).sql
    assert SCORED.sql not in Statements("v").count("acme", parse_query({"filter": "all"}).filter).sql


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], "the body must be an object"),
        ("all", "the body must be an object"),
        ({}, 'filter: is required; "all" takes every request'),
        ({"filter": "all", "order": 1}, "order: there is no such field; there are filter, offset, limit, sort"),
        ({"filter": "all", "limit": -1}, "limit: must be between 0 and 1000"),
        ({"filter": "all", "limit": 1001}, "limit: must be between 0 and 1000"),
        ({"filter": "all", "limit": 1e300}, "limit: must be between 0 and 1000"),
        ({"filter": "all", "limit": float("inf")}, "limit: must be a whole number"),
        ({"filter": "all", "limit": 1.5}, "limit: must be a whole number"),
        ({"filter": "all", "limit": "10"}, "limit: must be a whole number"),
        ({"filter": "all", "limit": True}, "limit: must be a whole number"),
        ({"filter": "all", "offset": 10_001}, "offset: must be between 0 and 10000"),
        ({"filter": "all", "isCached": "no"}, "isCached: must be true or false"),
        ({"filter": "all", "isCached": True}, "isCached: is not known here"),
        ({"filter": "all", "isPartOfExperiment": True}, "isPartOfExperiment: is not known here"),
        ({"filter": "all", "sort": "asc"}, "sort: must be an object with one entry"),
        ({"filter": "all", "sort": {"cost": "asc", "latency": "asc"}}, "sort: must be an object with one entry"),
        ({"filter": "all", "sort": {"cost": "up"}}, 'sort.cost: must be "asc" or "desc"'),
        ({"filter": "all", "sort": {"cost": ["asc"]}}, 'sort.cost: must be "asc" or "desc"'),
        ({"filter": "all", "sort": {"is_cached": "asc"}}, "sort.is_cached: there is no such order; there are created"),
        ({"filter": "all", "sort": {"random": "asc"}}, "sort.random: must be true"),
        ({"filter": "all", "sort": {"properties": "asc"}}, "sort.properties: must be an object with one key"),
        ({"filter": "all", "sort": {"properties": {"a": "up"}}}, 'sort.properties.a: must be "asc" or "desc"'),
        ({"filter": "all", "sort": {"properties": {"a" * 129: "asc"}}}, "sort.properties: a key must have at most"),
    ],
)
def test_a_body_is_refused_by_the_field_that_is_wrong(body: object, message: str) -> None:
    assert refusal(body).startswith(message)


def test_ids_are_texts_and_not_too_many() -> None:
    assert parse_ids({"requestIds": ["a", "b"]}) == ("a", "b")
    for body in ({}, {"requestIds": "a"}, {"requestIds": [1]}, {"requestIds": [None]}):
        assert refusal(body, parse_ids) == "requestIds: must be a list of texts"
    assert refusal({"requestIds": ["a"] * 1001}, parse_ids) == "requestIds: more than 1000"
    for text in ("", "a\0", "a" * 257, "\u00e4" * 129):
        assert refusal({"requestIds": [text]}, parse_ids).startswith("requestIds: each must have 1 to 256 bytes")
    assert refusal({"requestIds": [], "limit": 1}, parse_ids).startswith("limit: there is no such field")


def test_each_order_has_its_column() -> None:
    assert parse_query({"filter": "all", "sort": {"cost": "asc"}}).order == Order(SORTS["cost"], None, False)
    keyed = parse_query({"filter": "all", "sort": {"properties": {"plan": "desc"}}}).order
    assert keyed == Order(PROPERTY, "plan", True)
    assert parse_query({"filter": "all", "sort": {"random": True}}).order == Order(None)
    assert parse_query({"filter": "all", "sort": {}}).order == Order()


def test_every_statement_is_of_one_tenant_wherever_it_reads() -> None:
    query = replace(parse_query({"filter": "all"}), order=Order(PROPERTY, "plan"))
    for statement in (
        Statements("views").page("acme", query),
        Statements("views").count("acme", query.filter),
        Statements("views").by_ids("acme", ("r1",)),
    ):
        reads = statement.sql.count("FROM views.requests")
        assert reads == statement.sql.count("WHERE tenant_id = {p") > 0
        assert list(statement.parameters.values()).count("acme") == reads


def test_many_ids_travel_in_parts_that_a_server_takes() -> None:
    ids = tuple(str(number) for number in range(1_000))
    statement = Statements("v").by_ids("acme", ids)
    parts = [value for value in statement.parameters.values() if isinstance(value, tuple)]
    assert sum(parts, ()) == ids
    assert max(len(bound(("'" * 256,) * len(part))) for part in parts) < 128 << 10
    assert statement.sql.count("request_id IN ({p") == len(parts)


def test_a_database_is_a_plain_name() -> None:
    for name in ("", "a b", "a;b", "a.b", "1a", "ä", "a\n"):
        with pytest.raises(ValueError, match="is no name for a database"):
            Statements(name)


def test_a_row_has_every_field_and_null_for_what_nobody_told() -> None:
    row = request_row({**ROW, "vote": None, "kind": "", "voted_ms": None})
    assert set(row) == set(FIELDS.split())
    told = {key: value for key, value in row.items() if value is not None}
    assert told == {
        "request_id": "r1",
        "request_created_at": "2026-03-02T09:00:00.000Z",
        "updated_at": "1970-01-01T00:00:00.000Z",
        "properties": {},
        "request_properties": {},
        "assets": [],
    }


@pytest.mark.parametrize(
    ("vote", "kind", "rating", "scores"),
    [
        (1, "explicit", True, {"helicone-score-feedback": 1}),
        (-1, "explicit", False, {"helicone-score-feedback": 0}),
        (0, "explicit", None, None),
        (1, "implicit", None, None),
        (None, "", None, None),
    ],
)
def test_a_rating_has_both_spellings(vote: int | None, kind: str, rating: bool | None, scores: Any) -> None:
    row = request_row({**ROW, "vote": vote, "kind": kind})
    assert (row["feedback_rating"], row["scores"]) == (rating, scores)
    assert (row["feedback_created_at"] is None) == (kind != "explicit")


def test_what_was_logged_has_its_own_fields_and_long_texts_are_no_properties() -> None:
    entries = {
        "plan": "pro", "status": "200", "latency": "12.5", "cost": "free", "prompt": "Hi?", "response": "Hi!",
        "score.accuracy": "95", "score.polite": "true", "score.word": "good", "provider": "openai",
    }  # fmt: skip
    row = request_row({**ROW, "entries": entries, "words": "wrong"})
    logged = ("response_status", "delay_ms", "cost", "request_body", "response_body", "provider", "feedback_comment")
    assert [row[name] for name in logged] == [200, 12.5, None, "Hi?", "Hi!", "openai", "wrong"]
    assert row["scores"] == {"accuracy": 95, "polite": 1, "helicone-score-feedback": 0}
    assert row["properties"] == {key: entries[key] for key in ("plan", "status", "latency", "cost", "provider")}
    assert row["properties"] == row["request_properties"]


@pytest.mark.parametrize("text", ["", "1e999", "nan", "Infinity", "1_0", " 1", "[" * 10_000, "0x1", "1" * 400])
def test_what_is_no_number_is_none(text: str) -> None:
    assert request_row({**ROW, "entries": {"cost": text}})["cost"] is None
