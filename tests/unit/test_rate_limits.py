"""Who is limited by what, and what is told of it."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from application.access import BOOTSTRAP_KEY, EVERYTHING, Caller
from application.rate import Rate
from application.rate_limits import (
    Limit,
    RateLimitedError,
    RateLimits,
    Standing,
    network_of,
)
from interfaces.rest.bursts import bursts, with_bursts
from interfaces.rest.problems import told_of
from tests.fakes import FakeClock
from tests.limits import HOUR, NO_RATES, OwnOnly, limit, rate_limits

ADA, BOB = UUID(int=1), UUID(int=2)
HERE, THERE = "192.0.2.1", "192.0.2.2"


def by_key(user: UUID = ADA, key: str = "one") -> Caller:
    return Caller(user, "user", frozenset({"read"}), api_key_id=key)


def in_person(user: UUID = ADA) -> Caller:
    return Caller(user, "user", frozenset({"read"}), session_id=uuid4())


async def refused(limits: RateLimits, caller: Caller) -> RateLimitedError:
    with pytest.raises(RateLimitedError) as caught:
        await limits.admit(caller)
    return caught.value


# --- of whom -------------------------------------------------------------------------------------


async def test_each_key_has_a_limit() -> None:
    limits = rate_limits(key=(1, HOUR))
    await limits.admit(by_key())
    assert [one.limit.whose for one in (await refused(limits, by_key())).used_up] == ["one"]
    await limits.admit(by_key(key="another"))


async def test_a_user_has_one_for_all_keys_and_sessions() -> None:
    limits = rate_limits(user=(2, HOUR))
    await limits.admit(by_key())
    await limits.admit(in_person())
    assert (await refused(limits, by_key(key="another"))).used_up[0].limit.kind == "user"
    await limits.admit(in_person(BOB))


async def test_a_session_is_under_its_users_limit_alone() -> None:
    limits = rate_limits(key=(1, HOUR), user=(5, HOUR))
    told = [await limits.admit(in_person()) for _ in range(2)]
    assert [one.limit.kind for one in told[-1]] == ["user"]


async def test_the_operators_own_key_has_no_limits_and_costs_no_count() -> None:
    counters = OwnOnly()
    limits = rate_limits(counters, key=(1, HOUR), user=(1, HOUR))
    operator = Caller(ADA, "administrator", EVERYTHING, api_key_id=BOOTSTRAP_KEY)
    assert [await limits.admit(operator) for _ in range(3)] == [()] * 3
    assert counters.asked == 0


async def test_an_administrators_other_keys_have_limits() -> None:
    limits = rate_limits(key=(1, HOUR))
    issued = Caller(ADA, "administrator", EVERYTHING, api_key_id="issued")
    await limits.admit(issued)
    await refused(limits, issued)


async def test_all_limits_of_a_caller_are_asked_at_once() -> None:
    counters = OwnOnly()
    await rate_limits(counters, key=(9, HOUR), user=(9, HOUR)).admit(by_key())
    assert counters.asked == 1


async def test_without_rates_nobody_is_counted() -> None:
    counters = OwnOnly()
    limits = RateLimits(counters, NO_RATES)
    await limits.admit(by_key())
    await limits.admit_login(HERE)
    assert await limits.guesses_limited(HERE) is None
    await limits.guessed(HERE)
    assert counters.asked == 0


async def test_logins_are_limited_by_address() -> None:
    limits = rate_limits(login=(2, HOUR))
    for _ in range(2):
        await limits.admit_login(HERE)
    with pytest.raises(RateLimitedError, match="2 steps of logins from your address in an hour"):
        await limits.admit_login(HERE)
    await limits.admit_login(THERE)


# --- addresses -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
        ("", "none"),
        (None, "none"),
    ],
)
def test_an_address_counts_with_those_that_one_client_has(
    address: str | None, network: str
) -> None:
    assert network_of(address) == network


# --- what is told --------------------------------------------------------------------------------


def test_a_refusal_says_what_was_too_much_and_when_to_come_back() -> None:
    error = RateLimitedError([Standing(limit(600, 60), 0, wait=2.1), Standing(limit(9), 4)])
    assert str(error) == (
        "There may be 600 requests with this API key in a minute, and there were."
        " Ask again in 3 seconds."
    )


def test_who_is_over_several_limits_waits_for_the_last() -> None:
    soon, late = Standing(limit(1, 1), 0, wait=0.2), Standing(limit(1), 0, wait=60.0)
    error = RateLimitedError([soon, late])
    told = told_of(error, now=FakeClock())
    assert told.headers["Retry-After"] == "60"
    assert told.members == {"violated-policies": ["key-per-second", "key-per-hour"]}


def test_a_moment_is_told_as_a_whole_second() -> None:
    assert RateLimitedError([Standing(limit(1, 1), 0, wait=0.001)]).seconds == 1


def test_headers_name_each_limit_and_what_is_left_of_it() -> None:
    of_user = Limit("user", "a", Rate(50, 10))
    told = bursts([Standing(limit(600, 60), 598), Standing(of_user, 0, wait=3.2)])
    assert told == {
        "RateLimit-Policy": '"key-per-minute";q=600;w=60, "user-per-10-seconds";q=50;w=10',
        "RateLimit": '"key-per-minute";r=598;t=60, "user-per-10-seconds";r=0;t=4',
    }


def test_nothing_is_told_of_no_limits() -> None:
    assert bursts([]) == {}
    assert with_bursts([(b"a", b"1")], []) == [(b"a", b"1")]


def test_bursts_are_told_behind_quotas_in_the_same_headers() -> None:
    quota = [(b"ratelimit", b'"daily";r=1;t=9'), (b"etag", b'"x"')]
    told = with_bursts(quota, [Standing(limit(600, 60), 598)])
    assert told == [
        (b"ratelimit", b'"daily";r=1;t=9, "key-per-minute";r=598;t=60'),
        (b"etag", b'"x"'),
        (b"ratelimit-policy", b'"key-per-minute";q=600;w=60'),
    ]
