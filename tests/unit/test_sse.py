"""Server-sent events, however the network cuts them."""

from __future__ import annotations

import pytest

from interfaces.cli.sse import ServerEvent, read_events

STREAM = (
    b"retry: 1000\n\n: a heartbeat\n\nid: 4\nevent: queue\ndata: {}\n\n"
    b"id: 5\r\nevent: generation.completed\r\ndata:one\r\ndata: two\xc3\xa9\xe2\x80\xa8\r\n\r\n"
    b"data: three\r\r"
)
EVENTS = [
    ServerEvent("queue", "{}", "4"),
    ServerEvent("generation.completed", "one\ntwoé\u2028", "5"),
    ServerEvent("message", "three", "5"),
]


@pytest.mark.parametrize("length", [1, 2, 3, 7, 64, 1000])
def test_events_are_the_same_in_chunks_of_any_length(length: int) -> None:
    chunks = [STREAM[i : i + length] for i in range(0, len(STREAM), length)]
    assert list(read_events([*chunks, b"\n"])) == EVENTS


def test_what_was_cut_off_is_no_event() -> None:
    assert list(read_events([b"id: 6\ndata: half"])) == []
    assert list(read_events([b"id: 6\ndata: half\n"])) == []


def test_an_event_without_data_is_none_but_its_id_counts() -> None:
    assert list(read_events([b"id: 7\n\ndata: x\n\n"])) == [ServerEvent("message", "x", "7")]
