"""Following a generation to its end: its events as they are recorded, over lost connections."""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import httpx
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from interfaces.cli.client import Client, Json, of_generation, why
from interfaces.cli.endings import CommandError, Exit, say
from interfaces.cli.sse import ServerEvent, read_events
from interfaces.cli.terminal import local, pictures, printable, side

FINAL = ("generation.completed", "generation.failed", "generation.cancelled")
ENDED = ("completed", "failed", "cancelled")
GIVE_UP_AFTER = 60.0  # seconds without a stream
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 5.0  # seconds before the next attempt


def follow(client: Client, generation: Json, *, quiet: bool) -> Json:
    """Wait until the generation has ended, telling what happens to it; as it is then."""
    id_ = generation["id"]
    try:
        if generation["status"] not in ENDED:
            with accepted(id_), _progress(quiet=quiet) as progress:
                for event in Stream(client, id_).events():
                    progress.tell(sentence(event.type, json.loads(event.data)))
            with accepted(id_):
                generation = client.get(of_generation(id_))
    except KeyboardInterrupt:
        raise CommandError(
            f"You stopped waiting, and the generation goes on: `darkroom show {id_} --follow`"
            f" follows it, `darkroom cancel {id_}` ends it.",
            Exit.INTERRUPTED,
        ) from None
    return generation


@contextmanager
def accepted(id_: str) -> Iterator[None]:
    """Whoever loses the service learns which generation goes on."""
    try:
        yield
    except CommandError as error:
        if error.status is not Exit.UNAVAILABLE:
            raise
        raise CommandError(
            f"{error} Generation {id_} was accepted: `darkroom show {id_} --follow` follows it.",
            error.status,
            error.problem | {"generationId": id_},
        ) from error


class Stream:
    """The events of a generation, each once, over as many connections as it takes."""

    def __init__(self, client: Client, id_: str, *, give_up_after: float = GIVE_UP_AFTER) -> None:
        self._client = client
        self._id = id_
        self._give_up_after = give_up_after
        self._last_event: str | None = None
        self._ended = False
        self._lost_at: float | None = None
        self._pause = FIRST_PAUSE

    def events(self) -> Iterator[ServerEvent]:
        """Until the final one. Raises CommandError."""
        while not self._ended:
            try:
                yield from self._connection()
            except httpx.TransportError as error:
                self._client.say_again(why(error))
                self._give_up_after_a_while(error)
            except CommandError as error:
                if error.status is not Exit.UNAVAILABLE:
                    raise
                self._give_up_after_a_while(error)
            if not self._ended:
                time.sleep(self._pause * random.uniform(0.5, 1.5))  # noqa: S311  # spreads reconnects
                self._pause = min(self._pause * 2, LONGEST_PAUSE)

    def _connection(self) -> Iterator[ServerEvent]:
        path = of_generation(self._id, "events")
        with self._client.stream(path, self._last_event) as answer:
            self._ended = answer.status_code == httpx.codes.NO_CONTENT
            if not self._ended:
                _refuse_other_than_a_stream(self._client, answer)
            self._lost_at = None
            for event in read_events(answer.iter_bytes()):
                self._last_event, self._pause = event.id or self._last_event, FIRST_PAUSE
                self._ended = event.type in FINAL
                yield event
                if self._ended:
                    return

    def _give_up_after_a_while(self, error: Exception) -> None:
        now = time.monotonic()
        self._lost_at = self._lost_at or now
        if now - self._lost_at > self._give_up_after:
            raise self._client.unreachable(error) from error


def _refuse_other_than_a_stream(client: Client, answer: httpx.Response) -> None:
    if not answer.headers.get("content-type", "").startswith("text/event-stream"):
        raise CommandError(
            f"{client.url} gives no event stream: its release is older than this command's."
        )


# --- what is told --------------------------------------------------------------------------------


class Telling(Protocol):
    """Who hears how it goes."""

    def tell(self, text: str | None) -> None:
        """Something happened, unless None."""
        ...


class _Line:
    """One line of a terminal that changes, and counts the seconds."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("Accepted.", total=None)

    def tell(self, text: str | None) -> None:
        if text:
            self._progress.update(self._task, description=text)


class _Lines:
    """A line for whatever is new, for a log."""

    def __init__(self) -> None:
        self._last: str | None = None

    def tell(self, text: str | None) -> None:
        if text and text != self._last:
            say(text)
        self._last = text


class _Silence:
    def tell(self, text: str | None) -> None:
        pass


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Telling]:
    if quiet:
        yield _Silence()
    elif not sys.stderr.isatty():
        yield _Lines()
    else:
        columns = (
            SpinnerColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
        )
        with Progress(*columns, console=side(), transient=True) as progress:
            yield _Line(progress)


def sentence(kind: str, event: Json) -> str | None:
    """What an event of the stream says, for a person; None of what needs no word."""
    if kind == "queue":
        place = f", place {event['place']}" if event.get("place") else ""
        return printable(f"Queued{place}: {event['detail']}")
    tell = SENTENCES.get(kind.removeprefix("generation."))
    return printable(tell(event.get("data", {}))) if tell else None


def _started(data: dict[str, Any]) -> str:
    return f"Call {data['call']}: {data['provider']} makes {pictures(len(data['images']))}."


def _answered(data: dict[str, Any]) -> str:
    return f"Call {data['call']} was answered with {pictures(len(data['images']))}{_price(data)}."


def _failed(data: dict[str, Any]) -> str:
    again = f" It is tried again at {local(data['retryAt'])[11:]}." if data.get("retryAt") else ""
    return f"Call {data['call']} failed: {data['message']}{again}"


def _lost(data: dict[str, Any]) -> str:
    again = " It is made again." if data.get("repeat") else ""
    return f"The answer of call {data['call']} was lost.{again}"


def _price(data: dict[str, Any]) -> str:
    cost = data.get("cost")
    return f", {cost['amount']} {cost['currency']}" if cost else ""


SENTENCES: Mapping[str, Callable[[dict[str, Any]], str]] = {
    "requested": lambda _: "Accepted.",
    "call_started": _started,
    "call_answered": _answered,
    "call_failed": _failed,
    "call_lost": _lost,
    "completed": lambda data: f"Completed with {pictures(len(data['images']))}.",
    "failed": lambda data: f"Failed: {data['message']}",
    "cancelled": lambda _: "Cancelled.",
}
