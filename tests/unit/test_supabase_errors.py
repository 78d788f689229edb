"""Whatever Supabase's SDK raises comes to an error of ours, in words of ours."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx
import pytest
from storage3.exceptions import StorageApiError
from storage3.utils import StorageException

from application.ports.images import (
    ImageNotFoundError,
    ImageStoreUnavailableError,
    ObjectTooLargeError,
)
from infrastructure.image_stores.supabase_errors import (
    RAISED,
    AlreadyThereError,
    BucketGoneError,
    BusyError,
    CrowdedError,
    SilentError,
    meaning,
)
from infrastructure.image_stores.supabase_outage import Outage

SECRET = "sb_secret_of-the-operator"
TAKES_MORE = (httpx.HTTPStatusError, StorageApiError)


def family(*heads: type[Exception]) -> Iterator[type[Exception]]:
    for head in heads:
        yield head
        yield from family(*head.__subclasses__())


def raised(kind: type[Exception]) -> Exception:
    """One of these as it comes from the library: with an address, a key or an answer in it."""
    request = httpx.Request("GET", f"https://project.example/{SECRET}")
    if kind is StorageApiError:
        return StorageApiError(SECRET, SECRET, SECRET)
    if kind is httpx.HTTPStatusError:
        return httpx.HTTPStatusError(SECRET, request=request, response=httpx.Response(500))
    error = kind.__new__(kind)
    Exception.__init__(error, SECRET)
    return error


LIBRARY = sorted(
    set(
        family(
            *(httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, httpx.CookieConflict),
            StorageException,
        )
    ),
    key=str,
)


@pytest.mark.parametrize("kind", [*LIBRARY, KeyError, TypeError, ValueError])
def test_every_error_of_the_library_has_a_meaning(kind: type[Exception]) -> None:
    error = raised(kind)
    assert isinstance(error, RAISED)
    meant = meaning(error)
    assert isinstance(meant, ImageStoreUnavailableError)
    assert SECRET not in str(meant)


@pytest.mark.parametrize("kind", [k for k in LIBRARY if issubclass(k, httpx.TimeoutException)])
def test_after_a_timeout_there_is_no_time_to_ask_again(kind: type[Exception]) -> None:
    meant = meaning(raised(kind))
    assert isinstance(meant, CrowdedError if kind is httpx.PoolTimeout else SilentError)
    assert not isinstance(meant, BusyError)


@pytest.mark.parametrize("why", [BusyError("away"), SilentError("away")])
async def test_a_crowd_of_ours_says_nothing_about_the_server(why: Exception) -> None:
    outage = Outage()
    for error in (why, CrowdedError("crowded")):
        with pytest.raises(type(error)):
            await outage.in_time(ends_with(error))
    finds_out = asyncio.create_task(outage.in_time(asyncio.Event().wait()))
    await asyncio.sleep(0)
    with pytest.raises(ImageStoreUnavailableError, match="away"):
        await outage.in_time(ends_with(AssertionError("only one finds out")))
    finds_out.cancel()
    await asyncio.gather(finds_out, return_exceptions=True)


async def ends_with(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    ("status", "code", "meant"),
    [
        ("409", "Duplicate", AlreadyThereError),
        ("409", "KeyAlreadyExists", AlreadyThereError),
        ("404", "not_found", ImageNotFoundError),
        ("404", "NoSuchKey", ImageNotFoundError),
        ("404", "Bucket not found", BucketGoneError),
        ("404", "NoSuchBucket", BucketGoneError),
        ("404", "Not Found", ImageStoreUnavailableError),
        (404, "InternalError", ImageStoreUnavailableError),
        ("413", "Payload too large", ObjectTooLargeError),
        (413, "InternalError", ObjectTooLargeError),
        ("403", "Unauthorized", ImageStoreUnavailableError),
        (401, "InternalError", ImageStoreUnavailableError),
        ("400", "InvalidJWT", ImageStoreUnavailableError),
        ("415", "invalid_mime_type", ImageStoreUnavailableError),
        ("400", "InvalidKey", ImageStoreUnavailableError),
        ("429", "too_many_connections", BusyError),
        ("423", "ResourceLocked", BusyError),
        ("500", "InternalError", BusyError),
        ("503", "LockTimeout", BusyError),
        ("544", "DatabaseTimeout", BusyError),
        (502, "InternalError", BusyError),
        (302, "InternalError", ImageStoreUnavailableError),
    ],
)
def test_every_answer_has_a_meaning(status: str | int, code: str, meant: type[Exception]) -> None:
    assert type(meaning(StorageApiError("as the server says", code, status))) is meant
