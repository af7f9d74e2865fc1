"""Whole topics into books: the dead letters, the cells of the minutes, and one partition's events and rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

from confluent_kafka import Message

from schemas.codec import Codec, DecodeError
from schemas.events import DeadLetter, FeedbackEvent, MinuteCount
from schemas.topics import MONITORS_KEY, PROGRESS_KEY, epoch_of, version_of
from thumbstream.audit.cells import ALWAYS, Cells
from thumbstream.audit.events import EventBook, Letters, Range
from thumbstream.audit.ledger import UNKNOWN
from thumbstream.audit.positions import RESOLVE, SINK
from thumbstream.audit.rows import RowBook
from thumbstream.audit.scope import Findings, Scope
from thumbstream.audit.topic_books import TopicBooks

_Record = TypeVar("_Record")


@dataclass(slots=True)
class Records:
    """Reads and decodes. `filed`: letter id -> tenant and time; `last_mark`: when the last progress mark came.

    Times are epoch ms.
    """

    books: TopicBooks
    scope: Scope
    findings: Findings
    codec: Codec = field(default_factory=Codec)
    letters: Letters = field(default_factory=Letters)
    filed: dict[str, tuple[str, int]] = field(default_factory=dict)
    last_mark: int = 0
    _begins: dict[str, dict[int, int]] = field(default_factory=dict)

    def read_letters(self, now: int) -> None:
        """All dead letters of the topic."""
        topic = self.scope.topics.dead_letters
        for partition, (low, high) in self.books.bounds(topic.name).items():
            for message in self.books.read(topic.name, partition, low, high):
                if low and not self.letters.since:
                    self.letters.since = message.timestamp()[1]
                self._take_letter(message)
            if low and not self.letters.since:  # none is left whose time would tell
                self.letters.since = now - int(topic.config["retention.ms"])

    def _take_letter(self, message: Message) -> None:
        letter = self._decoded(DeadLetter, message)
        if letter is not None:
            self.filed[letter.letter_id] = (letter.tenant_id or UNKNOWN, letter.failed_at)
            reasons = {RESOLVE: self.letters.resolve, SINK: self.letters.sink}.get(letter.stage, {})
            reasons[letter.letter_id] = letter.reason

    def late_letters(self) -> set[str]:
        """The ids of all letters that the topic holds by now."""
        name = self.scope.topics.dead_letters.name
        found = set(self.filed)
        for partition, (low, high) in self.books.bounds(name).items():
            letters = (self._decoded(DeadLetter, message) for message in self.books.read(name, partition, low, high))
            found.update(letter.letter_id for letter in letters if letter is not None)
        return found

    def cells(self) -> Cells:
        """All cells of the minutes topic that belong to this epoch."""
        name, starts = self.scope.topics.minutes.name, self._starts(self.scope.topics.minutes.name)
        whole = self.scope.epoch == 1 and not any(starts.values())
        cells = Cells(self.scope.versions(self.findings.cut), whole, self.scope.rollups, set(ALWAYS))
        for partition, end in self.books.ends(name).items():
            for message in self.books.read(name, partition, starts[partition], end):
                if message.key() == PROGRESS_KEY:
                    self.last_mark = max(self.last_mark, message.timestamp()[1])
                elif message.key() != MONITORS_KEY:
                    self._take_cell(cells, name, message)
        return cells

    def _take_cell(self, cells: Cells, name: str, message: Message) -> None:
        cell = self._decoded(MinuteCount, message)
        if cell is None or epoch_of(cell.source_partition) != self.scope.epoch:
            return
        partition = cell.source_partition % 1000
        if partition in cells.cuts:
            cells.published(cell, partition, parked=self._is_parked(name, message))
        else:
            ledger, example = self.findings.ledger, f"{name}-{message.partition()}-{message.offset()}"
            ledger.exceeds("minutes", "cell of a partition that is not there", cell.tenant_id, cell.minute, example)

    def events(self, partition: int) -> EventBook:
        """The events of one partition before the cut."""
        name = self.scope.topics.events.name
        start, end = self._starts(name)[partition], self.findings.cut[partition]
        where = Range(name, partition, len(self.findings.cut), start, end, self.scope.epoch == 1 and start == 0)
        book = EventBook(where, self.letters, self.findings.ledger)
        for message in self.books.read(name, partition, start, end):
            event = self._decoded(FeedbackEvent, message)
            book.take(message.offset() or 0, message.timestamp()[1], _bytes(message.key()) or b"", event)
        self.findings.gaps[partition] = book.gaps
        return book

    def rows(self, partition: int) -> RowBook:
        """The rows of one partition, as of the cut."""
        name = self.scope.topics.latest.name
        cut = version_of(self.scope.epoch, self.findings.cut[partition])
        book = RowBook(partition, cut, self.scope.epoch, self.codec, self.findings.ledger)
        low, high = self.books.bounds_of(name, partition)
        for message in self.books.read(name, partition, low, high):
            value = _bytes(message.value())
            book.take(_bytes(message.key()) or b"", value, parked=self._is_parked(name, message))
        return book

    def _starts(self, topic: str) -> dict[int, int]:
        """Where reading begins, settled once."""
        if topic not in self._begins:
            self._begins[topic] = self._first_offsets(topic)
        return self._begins[topic]

    def _first_offsets(self, topic: str) -> dict[int, int]:
        lows = {partition: low for partition, (low, _) in self.books.bounds(topic).items()}
        if self.scope.since is None:
            return lows
        return {part: max(lows[part], first) for part, first in self.books.offsets_at(topic, self.scope.since).items()}

    def _is_parked(self, topic: str, message: Message) -> bool:
        return bool(self.letters.sink) and f"{topic}-{message.partition()}-{message.offset()}" in self.letters.sink

    def _decoded(self, cls: type[_Record], message: Message) -> _Record | None:
        try:
            return self.codec.decode_as(cls, _bytes(message.value()) or b"")
        except DecodeError:
            return None


def _bytes(content: str | bytes | None) -> bytes | None:
    return content.encode() if isinstance(content, str) else content
