"""What lies in the buckets of the Supabase Storage server, and how it refuses."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import md5
from typing import Any
from uuid import UUID, uuid4

from starlette.responses import JSONResponse, Response

LEGACY_NAMES = {
    "KeyAlreadyExists": "Duplicate",
    "BucketAlreadyExists": "Duplicate",
    "NoSuchKey": "not_found",
    "NoSuchBucket": "Bucket not found",
    "AccessDenied": "Unauthorized",
    "EntityTooLarge": "Payload too large",
    "InvalidMimeType": "invalid_mime_type",
    "SlowDown": "too_many_connections",
}


def refusal(status: int, code: str, message: str, *, http: int = 400) -> Response:
    """An error as the server tells it: the true status is a string in the body."""
    named = LEGACY_NAMES.get(code, code)
    body = {"statusCode": str(status), "code": code, "error": named, "message": message}
    return JSONResponse(body, http)


def no_key() -> Response:
    return refusal(404, "NoSuchKey", "Object not found")


class StorageRefusal(Exception):  # noqa: N818  # it is an answer
    """The request is refused."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self._status, self._code, self._message = status, code, message

    def response(self) -> Response:
        return refusal(self._status, self._code, self._message)


class Stored:
    """An object: what was uploaded, and when first and last."""

    def __init__(
        self, data: bytes, content_type: str, cache_control: str, *, created_at: datetime | None
    ) -> None:
        self.data, self.content_type, self.cache_control = data, content_type, cache_control
        self.id: UUID = uuid4()
        self.version = uuid4()
        self.updated_at = datetime.now(UTC)
        self.created_at = created_at or self.updated_at
        self.looks_in_vain = 0

    @property
    def etag(self) -> str:
        return f'"{md5(self.data, usedforsecurity=False).hexdigest()}"'

    def row(self, name: str) -> dict[str, Any]:
        """As listings and deletions tell of it."""
        return {
            "name": name,
            "id": str(self.id),
            "updated_at": self.updated_at.isoformat(),
            "created_at": self.created_at.isoformat(),
            "last_accessed_at": self.created_at.isoformat(),
            "metadata": {
                "eTag": self.etag,
                "size": len(self.data),
                "mimetype": self.content_type,
                "cacheControl": self.cache_control,
                "lastModified": self.updated_at.isoformat(),
                "contentLength": len(self.data),
                "httpStatusCode": 200,
            },
        }

    def info(self, bucket: str, name: str) -> dict[str, Any]:
        return {
            "id": str(self.id),
            "name": name,
            "version": str(self.version),
            "bucket_id": bucket,
            "size": len(self.data),
            "content_type": self.content_type,
            "cache_control": self.cache_control,
            "etag": self.etag,
            "metadata": {},
            "created_at": self.created_at.isoformat(),
        }


@dataclass
class Bucket:
    """A named set of objects, for everybody to read or not."""

    name: str
    public: bool
    file_size_limit: int | None = None
    allowed_mime_types: list[str] | None = None
    objects: dict[str, Stored] = field(default_factory=dict)
    signed: dict[str, tuple[str, datetime]] = field(default_factory=dict)
    made_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def stored(self, name: str) -> Stored:
        if name not in self.objects:
            raise StorageRefusal(404, "NoSuchKey", "Object not found")
        return self.objects[name]

    def refuse_type(self, content_type: str) -> None:
        if self.allowed_mime_types and content_type not in self.allowed_mime_types:
            message = f"mime type {content_type} is not supported"
            raise StorageRefusal(415, "InvalidMimeType", message)

    def shown(self) -> dict[str, Any]:
        return {
            "id": self.name,
            "name": self.name,
            "owner": "",
            "public": self.public,
            "file_size_limit": self.file_size_limit,
            "allowed_mime_types": self.allowed_mime_types,
            "created_at": self.made_at.isoformat(),
            "updated_at": self.made_at.isoformat(),
        }
