"""Whatever Supabase's SDK raises comes to an error of ours, in words of ours."""

from __future__ import annotations

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
    meaning,
)

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
    assert not isinstance(meaning(raised(kind)), BusyError)


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
