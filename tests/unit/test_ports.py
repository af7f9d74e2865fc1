"""Ports on loopback."""

import socket

import pytest

from thumbstream.local.ports import PortInUseError, free_ports, is_free, is_listening, require_free


def test_free_ports_are_different_free_and_outside_the_range_of_client_ports() -> None:
    found = free_ports(20)
    assert len(set(found)) == 20
    assert all(is_free(port) and port < 32_768 for port in found)


def test_ports_that_are_spoken_for_are_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter((20_001, 20_002, 20_001, 20_002, 20_003))
    monkeypatch.setattr("random.randint", lambda *_: next(drawn))
    monkeypatch.setattr("thumbstream.local.ports.is_free", lambda port: True)
    assert sorted(free_ports(2, {20_001})) == [20_002, 20_003]


def test_a_taken_port_is_named_with_what_it_is_for() -> None:
    [free] = free_ports(1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        assert not is_free(taken)
        assert is_listening(taken)
        with pytest.raises(PortInUseError, match=rf"^already in use on 127.0.0.1: {taken} \(gateway\)$"):
            require_free({"kafka-1": free, "gateway": taken})
    assert not is_listening(taken)
