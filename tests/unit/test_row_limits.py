"""A row must always fit a message, or one request could stop the stream."""

from processors.deduplicate import MAX_REGISTERS, Arrival
from processors.pipeline import Folded, Lookup, Partition, fold
from schemas.codec import Codec
from schemas.events import FeedbackEvent, ResolvedFeedback
from schemas.topics import LARGEST_MESSAGE, request_key

WHERE = Partition(0, 1, rollups=())
KEY = request_key("t", "r")


def context(number: int, metadata: dict[str, str | None]) -> Arrival:
    event = FeedbackEvent("t", "r", f"e{number}", "context", number + 10**12, metadata=metadata)
    return Arrival(number, 2 * 10**12, KEY, event)


def folded(*arrivals: Arrival) -> Folded:
    return fold(WHERE, arrivals, Lookup(lambda _: None, lambda _: ()), {})


def row(result: Folded) -> ResolvedFeedback:
    return result.rows[KEY]


def test_metadata_keys_beyond_the_limit_are_refused_and_the_row_stays() -> None:
    arrivals = [context(number, {f"k{number}-{index}": "1" for index in range(64)}) for number in range(20)]
    result = folded(*arrivals)
    assert len(row(result).metadata) == MAX_REGISTERS
    assert {refusal.reason for _, refusal in result.refused} == {"too_large"}
    assert [arrival.offset for arrival, _ in result.refused] == list(range(16, 20))
    assert result.verdicts == [True] * 16 + [False] * 4


def test_removed_keys_count_too_for_they_leave_stamps() -> None:
    arrivals = [context(number, {f"k{number}-{index}": None for index in range(64)}) for number in range(17)]
    assert [refusal.reason for _, refusal in folded(*arrivals).refused] == ["too_large"]


def test_a_full_row_still_takes_votes_and_fits_a_message() -> None:
    text = '"' + "\U0001f44d" * 80_000 + '"'  # four bytes a character
    arrivals = [context(number, {f"k{number}": text}) for number in range(9)]
    vote = Arrival(9, 2 * 10**12, KEY, FeedbackEvent("t", "r", "v", "vote", 10**12, rating=False))
    result = folded(*arrivals, vote)
    assert [arrival.offset for arrival, _ in result.refused] == [7, 8]
    assert row(result).vote is not None
    assert len(Codec().encode(row(result))) < LARGEST_MESSAGE
