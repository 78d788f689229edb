"""One table says what every error is over HTTP."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import get_args
from uuid import uuid4

import pytest

import application
import domain
import interfaces.rest
from application.in_flight import TooManyOfAllError, TooManyOfUserError
from domain.failure import FailureKind
from domain.generation import Generation
from domain.quota import Allowance, QuotaExceededError, windows_at
from interfaces.rest.errors import FAILED, EndedWithoutPictureError, ended_without_picture
from interfaces.rest.problem_pages import errors_markdown
from interfaces.rest.problem_types import INTERNAL_ERROR, PROBLEM_TYPES
from interfaces.rest.problems import (
    OF_HTTP,
    PROBLEMS,
    problem_type,
    told_of,
    uri_reference,
)
from tests.fakes import FakeClock
from tests.generations import new_generation

# What is raised and answered for behind the command line, by workers and dispatchers alone.
NEVER_AT_A_ROUTE = {
    "CallFailedError": "the worker records it",
    "DoesNotFitError": "routing raises NoProviderError, which says it of every provider",
    "EndedMeanwhileError": "the worker tidies up",
    "NeedsError": "no application is made",
    "NotAnImageError": "routes raise UnusableReferencesError, which says which one",
    "NotOursError": "the worker gives way",
    "NotToBeHadError": "routes raise UnusableReferencesError, which says which one",
    "ObjectDiffersError": "keys carry the hash of what lies there: a damaged store is a 500",
    "OutcomeUnknownError": "the worker records it",
    "OvertakenError": "the worker decides anew",
    "QueueUnavailableError": "the dispatcher tries again; readiness tells it as data",
    "SpoolFullError": "the worker records it",
    "TooMuchTogetherError": "routes raise UnusableReferencesError, which says which one",
}
PARENTS = {"RequestError", "OfGenerationError", "EndedWithoutPictureError"}


def modules(package: ModuleType) -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        yield importlib.import_module(found.name)


def exceptions(package: ModuleType) -> Iterator[type[Exception]]:
    for module in modules(package):
        classes = (value for value in vars(module).values() if isinstance(value, type))
        for cls in classes:
            if issubclass(cls, Exception) and cls.__module__ == module.__name__:
                yield cls


@pytest.mark.parametrize("package", [domain, application, interfaces.rest], ids=str)
def test_every_exception_that_can_reach_a_route_is_in_the_table(package: ModuleType) -> None:
    missing = {error.__name__ for error in exceptions(package) if error not in PROBLEMS}

    assert missing <= NEVER_AT_A_ROUTE.keys() | PARENTS


def test_what_never_reaches_a_route_exists() -> None:
    packages = (domain, application, interfaces.rest)
    names = {error.__name__ for package in packages for error in exceptions(package)}

    assert names >= NEVER_AT_A_ROUTE.keys()


def test_a_code_has_one_type() -> None:
    assert len({kind.code for kind in PROBLEM_TYPES}) == len(PROBLEM_TYPES)
    assert len({kind.type for kind in PROBLEM_TYPES}) == len(PROBLEM_TYPES)


def test_every_type_is_the_answer_to_some_error() -> None:
    assert {*PROBLEMS.values(), *OF_HTTP.values(), INTERNAL_ERROR} == set(PROBLEM_TYPES)


def test_every_type_says_what_happened_why_and_what_to_do() -> None:
    for kind in PROBLEM_TYPES:
        assert not kind.title.endswith("."), kind.code
        assert kind.why.endswith("."), kind.code
        assert kind.remedy.endswith("."), kind.code


def test_the_page_about_errors_is_made_of_the_table() -> None:
    page = Path(__file__).parents[2] / "docs" / "errors.md"

    assert page.read_text() == errors_markdown(), "run `make surface`"


def test_types_never_change() -> None:
    assert sorted((kind.status, kind.type) for kind in PROBLEM_TYPES) == [
        (400, "/problems/cursor-refused"),
        (400, "/problems/event-id-refused"),
        (400, "/problems/idempotency-key-malformed"),
        (400, "/problems/login-link-refused"),
        (400, "/problems/login-not-begun"),
        (400, "/problems/malformed-body"),
        (400, "/problems/unreadable-request"),
        (401, "/problems/not-authenticated"),
        (403, "/problems/domain-not-allowed"),
        (403, "/problems/email-not-verified"),
        (403, "/problems/locks-out"),
        (403, "/problems/login-cancelled"),
        (403, "/problems/login-link-used"),
        (403, "/problems/login-refused"),
        (403, "/problems/not-allowed"),
        (403, "/problems/other-site"),
        (403, "/problems/suspended"),
        (404, "/problems/login-not-configured"),
        (404, "/problems/not-found"),
        (405, "/problems/method-not-allowed"),
        (408, "/problems/request-timeout"),
        (409, "/problems/contended"),
        (409, "/problems/generation-cancelled"),
        (409, "/problems/generation-closed"),
        (409, "/problems/generation-open"),
        (409, "/problems/too-many-resends"),
        (409, "/problems/too-many-webhook-changes"),
        (409, "/problems/too-many-webhooks"),
        (409, "/problems/webhook-disabled"),
        (413, "/problems/body-too-large"),
        (415, "/problems/unsupported-media-type"),
        (416, "/problems/range-not-satisfiable"),
        (422, "/problems/deadline-too-long"),
        (422, "/problems/idempotency-key-reused"),
        (422, "/problems/invalid-request"),
        (422, "/problems/key-not-possible"),
        (422, "/problems/moderation-refused"),
        (422, "/problems/no-provider"),
        (422, "/problems/request-refused"),
        (422, "/problems/unusable-reference-image"),
        (429, "/problems/rate-limited"),
        (429, "/problems/too-many-in-flight"),
        (429, "https://iana.org/assignments/http-problem-types#quota-exceeded"),
        (431, "/problems/head-too-large"),
        (500, "/problems/internal-error"),
        (501, "/problems/webhooks-off"),
        (502, "/problems/login-provider-unavailable"),
        (502, "/problems/login-unproven"),
        (502, "/problems/provider-failed"),
        (503, "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"),
        (504, "/problems/deadline-passed"),
    ]


def test_who_asks_for_more_than_there_ever_is_is_not_told_to_come_back() -> None:
    now = FakeClock().now
    daily, _ = windows_at(now)

    never = told_of(QuotaExceededError([Allowance(daily, 1, 0)], asked=2), now=lambda: now)
    later = told_of(QuotaExceededError([Allowance(daily, 2, 1)], asked=2), now=lambda: now)

    assert "Retry-After" not in never.headers
    assert int(later.headers["Retry-After"]) > 0


def test_who_has_as_many_in_flight_as_may_be_is_told_when_to_come_back() -> None:
    now = FakeClock().now

    mine = told_of(TooManyOfUserError(1000), now=lambda: now)
    everybodys = told_of(TooManyOfAllError(10_000), now=lambda: now)

    assert mine.members == {"violated-policies": ["in-flight"]}
    assert "1000 generations are in flight for you" in mine.detail
    assert "10000 generations are in flight here" in everybodys.detail
    assert problem_type(TooManyOfAllError(1)).status == 503
    assert all(int(told.headers["Retry-After"]) > 0 for told in (mine, everybodys))


@pytest.mark.parametrize(
    ("raw_path", "reference"),
    [
        (b"/images/a%20b", "/images/a%20b"),
        (b'/a"b<c>', "/a%22b%3Cc%3E"),
        (b"/caf\xc3\xa9", "/caf%C3%A9"),
        (b"/100%/%zz", "/100%25/%25zz"),
        (b"//elsewhere.example/x", "/.//elsewhere.example/x"),
    ],
)
def test_what_was_asked_for_is_told_as_a_uri_reference(raw_path: bytes, reference: str) -> None:
    assert uri_reference(raw_path) == reference


def test_an_error_that_nobody_thought_of_is_internal() -> None:
    assert problem_type(ZeroDivisionError()) is INTERNAL_ERROR


@pytest.mark.parametrize("kind", get_args(FailureKind))
def test_each_kind_of_failure_is_a_problem(kind: FailureKind) -> None:
    assert problem_type(FAILED[kind](uuid4(), "why")).status in (422, 502, 504)


def cancelled(generation: Generation) -> Generation:
    generation.cancel(by=uuid4())
    return generation


def test_a_cancelled_generation_is_a_problem_with_its_id() -> None:
    generation = cancelled(new_generation(FakeClock().now))

    error = ended_without_picture(generation)

    assert isinstance(error, EndedWithoutPictureError)
    assert error.generation_id == generation.id
    assert problem_type(error).status == 409


def test_an_open_generation_is_no_problem() -> None:
    assert ended_without_picture(new_generation(FakeClock().now)) is None
