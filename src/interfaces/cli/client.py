"""The service over HTTP, and nothing else: what client commands ask, and what goes wrong."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from infrastructure.client_settings import (
    HERE,
    ClientSettings,
    ClientSettingsError,
    NoApiKeyError,
    load_client_settings,
)
from interfaces.cli.endings import CommandError, Exit, say
from interfaces.cli.terminal import printable

Json = dict[str, Any]
Notice = Callable[[str], None]

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 60.0
IMPATIENT_SECONDS = 10.0
SILENT_SECONDS = 45.0  # of a stream that has a heartbeat each 15 s
PAUSES = (0.25, 0.5, 1.0, 2.0)  # seconds before each repeat
LONGEST_PAUSE = 30.0
WORTH_A_REPEAT = (502, 503, 504)
GENERATIONS = "/api/v1/generations"

STATUSES = {
    400: Exit.MISUSED,
    401: Exit.NOT_AUTHENTICATED,
    403: Exit.NOT_AUTHENTICATED,
    404: Exit.NOT_FOUND,
    413: Exit.MISUSED,
    415: Exit.MISUSED,
    429: Exit.OVER_LIMIT,
    502: Exit.UNAVAILABLE,
    503: Exit.UNAVAILABLE,
    504: Exit.UNAVAILABLE,
}
MISUSES = ("deadline-too-long", "invalid-request", "no-provider", "unusable-reference-image")


class ProblemError(CommandError):
    """The service said no; `generation_id` when it speaks of a generation."""

    def __init__(self, problem: Json, status_code: int) -> None:
        self.code = str(problem.get("code", ""))
        self.generation_id: str | None = problem.get("generationId")
        status = STATUSES.get(status_code, Exit.FAILED)
        if self.code in MISUSES:
            status = Exit.MISUSED
        elif self.generation_id and status_code != httpx.codes.SERVICE_UNAVAILABLE:
            status = Exit.FAILED
        super().__init__(_sentence(problem), status, problem)


class UnreachableError(CommandError):
    """Nobody answers at the service's address, or somebody who is not Darkroom."""

    def __init__(self, wrong: str, remedy: str) -> None:
        super().__init__(f"{wrong} {remedy}", Exit.UNAVAILABLE)
        self.wrong = wrong
        self.remedy = remedy


class Client:
    """One service, one key. Errors are CommandError.

    What is safe to send twice is sent again, with pauses, while the service does not answer.
    """

    def __init__(
        self, settings: ClientSettings, *, patient: bool = True, notice: Notice = say
    ) -> None:
        self.url = settings.url
        self._pauses = PAUSES if patient else ()
        self._notice = notice
        self._http = httpx.Client(
            base_url=settings.url,
            headers={
                "Authorization": f"Bearer {settings.api_key}",
                "User-Agent": f"darkroom/{version('darkroom')}",
            },
            timeout=httpx.Timeout(
                ANSWER_SECONDS if patient else IMPATIENT_SECONDS, connect=CONNECT_SECONDS
            ),
            trust_env=urlsplit(settings.url).hostname not in HERE,  # no proxy knows this machine
        )

    def close(self) -> None:
        """Disconnect."""
        self._http.close()

    def get(self, path: str, **parameters: Any) -> Json:
        """What is there."""
        given = {name: value for name, value in parameters.items() if value is not None}
        return self._read(self._patiently("GET", path, params=given))

    def post(self, path: str, key: str, **content: Any) -> Json:
        """Ask for something, once: with the same key nothing happens twice."""
        headers = {"Prefer": "respond-async", "Idempotency-Key": f'"{key}"'}
        return self._read(self._patiently("POST", path, headers=headers, **content))

    def delete(self, path: str, key: str) -> Json:
        """Remove something, once."""
        return self._read(self._patiently("DELETE", path, headers={"Idempotency-Key": f'"{key}"'}))

    def download(self, url: str) -> bytes:
        """A picture at its permanent URL, which needs no key and gets none."""
        local = urlsplit(url).hostname in HERE
        try:
            with httpx.Client(timeout=ANSWER_SECONDS, trust_env=not local) as anybody:
                answer = self._patiently("GET", url, sender=anybody)
        except UnreachableError as error:
            raise CommandError(
                f"The picture at {url} cannot be fetched ({why(error.__cause__ or error)}).",
                Exit.UNAVAILABLE,
            ) from error
        if answer.status_code != httpx.codes.OK:
            raise CommandError(f"The picture at {url} was answered {answer.status_code}.")
        return answer.content

    @contextmanager
    def stream(self, path: str, last_event_id: str | None) -> Iterator[httpx.Response]:
        """An event stream, open. Raises httpx.TransportError when it breaks."""
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if last_event_id is not None:
            headers["Last-Event-ID"] = last_event_id
        timeout = httpx.Timeout(SILENT_SECONDS, connect=CONNECT_SECONDS)
        with self._http.stream("GET", path, headers=headers, timeout=timeout) as answer:
            if not answer.is_success:
                answer.read()
                self._read(answer)
            yield answer

    def _patiently(
        self, method: str, path: str, *, sender: httpx.Client | None = None, **content: Any
    ) -> httpx.Response:
        for pause in (*self._pauses, None):
            try:
                answer = (sender or self._http).request(method, path, **content)
                if pause is None or not _is_worth_a_repeat(answer):
                    return answer
                wait, reason = _pause(answer, pause), f"it answered {answer.status_code}"
            except httpx.TransportError as error:
                if pause is None:
                    raise self.unreachable(error) from error
                wait, reason = pause * random.uniform(0.8, 1.2), why(error)  # noqa: S311  # spreads
            except (httpx.InvalidURL, httpx.HTTPError) as error:
                raise self.unreachable(error) from error
            self.say_again(reason, path if sender else "")
            time.sleep(wait)
        raise AssertionError("the last attempt returns or raises")

    def unreachable(self, error: Exception) -> UnreachableError:
        """What to tell of a service that does not answer."""
        start = ", or start it with `darkroom up`" if urlsplit(self.url).hostname in HERE else ""
        return UnreachableError(
            f"Darkroom does not answer at {self.url} ({why(error)}).",
            f"Look at DARKROOM_URL{start}.",
        )

    def say_again(self, reason: str, url: str = "") -> None:
        """Say why it takes longer."""
        self._notice(f"darkroom: {url or self.url} does not answer ({reason}), trying again …")

    def _read(self, answer: httpx.Response) -> Json:
        try:
            body = answer.json()
        except ValueError:
            body = None
        if answer.is_success and isinstance(body, dict):
            return body
        if isinstance(body, dict) and "detail" in body:
            raise ProblemError(body, answer.status_code)
        raise UnreachableError(
            f"{self.url} answers {answer.status_code}, but not as Darkroom does.",
            "Look at DARKROOM_URL.",
        )


@contextmanager
def connected(*, patient: bool = True, quiet: bool = False) -> Iterator[Client]:
    """The service that the settings name; a quiet one does not tell of repeats.

    Raises CommandError.
    """
    try:
        client = Client(
            load_client_settings(), patient=patient, notice=_say_nothing if quiet else say
        )
    except ClientSettingsError as error:
        raise CommandError(f"{error}", Exit.MISUSED) from error
    except NoApiKeyError as error:
        raise CommandError(f"{error}", Exit.NOT_AUTHENTICATED) from error
    try:
        yield client
    finally:
        client.close()


def _say_nothing(_: str) -> None:
    pass


def of_generation(id_: str, *more: str) -> str:
    """The path of a generation, or of something of it."""
    return "/".join((GENERATIONS, quote(id_.strip(), safe=""), *more))


def _is_worth_a_repeat(answer: httpx.Response) -> bool:
    if answer.status_code not in WORTH_A_REPEAT:
        return False
    return b'"generationId"' not in answer.content  # that one is there, and tells its own end


def _pause(answer: httpx.Response, usual: float) -> float:
    asked = answer.headers.get("Retry-After", "")
    return min(float(asked), LONGEST_PAUSE) if asked.isdecimal() else usual


def why(error: BaseException) -> str:
    if isinstance(error, httpx.ConnectTimeout | httpx.ReadTimeout):
        return "no answer in time"
    text = printable(str(error)).removeprefix("[Errno ").partition("] ")[2] or printable(str(error))
    return text or type(error).__name__


def _sentence(problem: Mapping[str, Any]) -> str:
    """What is wrong with each field, if that is known, else its detail."""
    if problem.get("code") == "not-authenticated":  # its detail speaks of headers
        return "This API key is not valid. Look at DARKROOM_API_KEY."
    mistakes = [_mistake(error) for error in problem.get("errors") or ()]
    if problem.get("code") != "invalid-request" or not mistakes:
        mistakes.insert(0, str(problem["detail"]))
    return printable(" ".join(mistakes))


def _mistake(error: Mapping[str, Any]) -> str:
    place = str(error.get("parameter") or error.get("pointer") or "").removeprefix("#/")
    detail = str(error.get("detail", ""))
    return detail if not place or detail.startswith(place) else f"{place}: {detail}"
