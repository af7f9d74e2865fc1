"""A gateway in this process for clients in processes of their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.memory_gateway import MemoryGateway


@pytest.fixture
def gateway(tmp_path: Path) -> MemoryGateway:
    return MemoryGateway(tmp_path)


@pytest.fixture
def url(gateway: MemoryGateway) -> Iterator[str]:
    """Where clients reach it."""
    with gateway.served() as url:
        yield url
