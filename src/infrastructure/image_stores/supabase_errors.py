"""What Supabase Storage's answers and its SDK's errors mean, in sentences of ours.

The server answers 400 for nearly every error and says the true status in the body, as a string; the
SDK calls it `status`, and the error's name, which depends on the server's release, `code`.
"""

from __future__ import annotations

import httpx
from storage3.exceptions import StorageApiError
from storage3.utils import StorageException

from application.ports.images import (
    ImageNotFoundError,
    ImageStoreUnavailableError,
    ObjectTooLargeError,
)

RAISED = (  # by the SDK: the last three when an answer has not the shape that it takes for granted
    *(httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, httpx.CookieConflict),
    *(StorageException, ValueError, KeyError, TypeError),
)
NO_OBJECT = ("not_found", "NoSuchKey")
NO_BUCKET = ("Bucket not found", "NoSuchBucket")
NO_KEY = ("InvalidJWT", "InvalidSignature", "ExpiredToken")

SILENT = (
    "Supabase Storage does not answer. Look at SUPABASE_URL, the network and Supabase's status."
)
GARBLED = (
    "Supabase Storage answers what cannot be understood. Look at SUPABASE_URL: is it the project's?"
)
ELSEWHERE = (
    "There is no Supabase Storage at SUPABASE_URL, or one that is too old to list objects page by"
    " page. Correct SUPABASE_URL, or upgrade the server."
)
KEY_REFUSED = (
    "Supabase Storage refused the key. Set SUPABASE_KEY to a secret (service_role) key of the"
    " project at SUPABASE_URL."
)
TYPE_REFUSED = (
    "A bucket takes no objects of this type. Let SUPABASE_BUCKET take image/png, image/jpeg and"
    " image/webp, and the bucket of references any type."
)
OVERLOADED = "Supabase Storage has too much to do. Wait, or give the project more capacity."
CROWDED = (
    "Every connection to Supabase Storage is busy. Wait, or let more processes share the work."
)
BUCKET_GONE = "A bucket of SUPABASE_BUCKET is not there. It is made anew with the next request."
MUCH_TOO_LARGE = (
    "An object in Supabase Storage is larger than any picture. Look at what lies there."
)


class BusyError(ImageStoreUnavailableError):
    """It may go well when it is asked for again in a moment."""


class SilentError(ImageStoreUnavailableError):
    """Nothing came for so long that there is no time to ask again."""


class CrowdedError(ImageStoreUnavailableError):
    """It was not asked: all connections to it are taken, which says nothing about it."""


class BucketGoneError(ImageStoreUnavailableError):
    """The bucket is not, or no longer, there."""


class AlreadyThereError(Exception):
    """Something lies there already."""


class AnswerTooLargeError(httpx.TransportError):
    """The answer is longer than anything that was stored."""


class NotAnObjectError(httpx.DecodingError):
    """The answer is a page or JSON, where an object's bytes were to come."""


def meaning(error: Exception) -> Exception:
    """What one of RAISED comes to."""
    if isinstance(error, StorageApiError):
        return _of_answer(str(error.status), str(error.code))
    if isinstance(error, AnswerTooLargeError):
        return ImageStoreUnavailableError(MUCH_TOO_LARGE)
    if isinstance(error, httpx.PoolTimeout):
        return CrowdedError(CROWDED)
    if isinstance(error, httpx.TimeoutException):
        return SilentError(SILENT)
    if isinstance(error, (httpx.UnsupportedProtocol, httpx.InvalidURL)):
        return ImageStoreUnavailableError(SILENT)
    if isinstance(error, httpx.TransportError):
        return BusyError(SILENT)
    return BusyError(GARBLED)


def _of_answer(status: str, code: str) -> Exception:
    if status == "404":
        return _of_nothing(code)
    if status == "409":
        return AlreadyThereError()
    if status == "413":
        return ObjectTooLargeError()
    if status in ("401", "403") or code in NO_KEY:
        return ImageStoreUnavailableError(KEY_REFUSED)
    if status == "415":
        return ImageStoreUnavailableError(TYPE_REFUSED)
    if status == "429":
        return BusyError(OVERLOADED)
    number = status if status.isdecimal() else "none"
    if status == "423" or number.startswith("5"):
        return BusyError(
            f"Supabase Storage has trouble of its own (status {number}). Look at Supabase's status."
        )
    return ImageStoreUnavailableError(
        f"Supabase Storage refused a request (status {number}). Look at the project's storage logs."
    )


def _of_nothing(code: str) -> Exception:
    if code in NO_OBJECT:
        return ImageNotFoundError("No object lies under this key.")
    if code in NO_BUCKET:
        return BucketGoneError(BUCKET_GONE)
    return ImageStoreUnavailableError(ELSEWHERE)
