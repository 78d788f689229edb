"""What the Supabase Storage server does on each of its routes."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tests.servers.protocol import seen
from tests.servers.supabase_objects import Bucket, StorageRefusal, Stored, no_key

if TYPE_CHECKING:
    from tests.servers.supabase import SupabaseServer

OBJECT_KEY = re.compile(r"[A-Za-z0-9_/!.*'() &$=@;:+,?-]+")
MOST_DELETED_AT_ONCE = 1000
TOKEN = "a-token-for-tests"  # it opens nothing

Handler = Callable[["SupabaseServer", Request], Awaitable[Response]]


async def _json(request: Request, *, required: dict[str, type], optional: dict[str, Any]) -> Any:
    """The body, which has these fields and no others. Raises StorageRefusal."""
    try:
        body = await request.json()
    except ValueError:
        raise StorageRefusal(400, "InvalidRequest", "Body is not valid JSON") from None
    known = {**required, **optional}
    if not isinstance(body, dict) or (wrong := set(body) - set(known)):
        raise StorageRefusal(400, "InvalidRequest", f"body must NOT have {wrong or body!r}")
    for name, kind in known.items():
        if name not in body and name in required:
            raise StorageRefusal(400, "InvalidRequest", f"body must have property '{name}'")
        if name in body and not isinstance(body[name], kind):
            raise StorageRefusal(400, "InvalidRequest", f"body/{name} must be {kind}")
    return body


# --- buckets -------------------------------------------------------------------------------------


async def create_bucket(server: SupabaseServer, request: Request) -> Response:
    body = await _json(
        request,
        required={"name": str},
        optional={"id": str, "public": bool, "file_size_limit": int, "allowed_mime_types": list},
    )
    name = body.get("id", body["name"])
    if not re.fullmatch(r"[A-Za-z0-9_!.*'() &$=@;:+,?-]{1,100}", name):
        raise StorageRefusal(400, "InvalidBucketName", "Bucket name invalid")
    if name in server.buckets:
        raise StorageRefusal(409, "BucketAlreadyExists", "The resource already exists")
    server.buckets[name] = Bucket(
        name,
        public=body.get("public", False),
        file_size_limit=body.get("file_size_limit"),
        allowed_mime_types=body.get("allowed_mime_types"),
    )
    return JSONResponse({"name": name})


async def get_bucket(server: SupabaseServer, request: Request) -> Response:
    return JSONResponse(server.bucket(request).shown())


# --- objects -------------------------------------------------------------------------------------


async def upload(server: SupabaseServer, request: Request) -> Response:
    """POST makes a new object, PUT takes the place of whatever is there."""
    bucket, name = server.bucket(request), _name(request)
    upsert = request.headers.get("x-upsert")
    if request.method == "POST" and upsert not in ("true", "false"):
        raise StorageRefusal(400, "InvalidRequest", "headers/x-upsert must be boolean")
    is_new = request.method == "POST" and upsert == "false"
    if is_new and name in bucket.objects:  # seen before the body is read
        raise StorageRefusal(409, "KeyAlreadyExists", "The resource already exists")
    data, content_type, cache = await _file(request)
    limit = min(bucket.file_size_limit or 2**40, server.option("file_size_limit") or 2**40)
    if len(data) > limit:
        raise StorageRefusal(413, "EntityTooLarge", "The object exceeded the maximum allowed size")
    bucket.refuse_type(content_type)
    before = bucket.objects.get(name)
    stored = Stored(data, content_type, cache, created_at=before.created_at if before else None)
    stored.looks_in_vain = int(server.option("appears_after") or 0)
    bucket.objects[name] = stored
    seen(request).billed = True
    seen(request).facts.update(stored=True, bytes=len(data), sha256=sha256(data).hexdigest())
    return JSONResponse({"Id": str(stored.id), "Key": f"{bucket.name}/{name}"})


async def _file(request: Request) -> tuple[bytes, str, str]:
    """The one file of the form, its type, and how long it may be cached."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise StorageRefusal(400, "InvalidRequest", "No content provided")
    async with request.form(max_files=1, max_fields=10) as form:
        if unknown := set(form) - {"cacheControl", "metadata", "file"}:
            raise StorageRefusal(400, "InvalidRequest", f"unknown parts {sorted(unknown)}")
        file, cache = form.get("file"), form.get("cacheControl")
        if not isinstance(file, UploadFile) or not file.content_type:
            raise StorageRefusal(400, "InvalidRequest", "No content provided")
        return await file.read(), file.content_type, f"max-age={cache}" if cache else "no-cache"


async def download(server: SupabaseServer, request: Request) -> Response:
    return _served(server.bucket(request).stored(_name(request)))


async def download_public(server: SupabaseServer, request: Request) -> Response:
    bucket = server.bucket(request)
    if not bucket.public:
        raise StorageRefusal(404, "NoSuchBucket", "Bucket not found")
    stored = bucket.stored(_name(request))
    if stored.looks_in_vain > 0:
        stored.looks_in_vain -= 1
        return no_key()
    return _served(stored)


def _served(stored: Stored) -> Response:
    headers = {
        "etag": stored.etag,
        "cache-control": stored.cache_control,
        "last-modified": stored.updated_at.strftime("%a, %d %b %Y %H:%M:%S GMT"),
        "accept-ranges": "bytes",
        "x-robots-tag": "none",
    }
    return Response(stored.data, headers=headers, media_type=stored.content_type)


async def info(server: SupabaseServer, request: Request) -> Response:
    bucket, name = server.bucket(request), _name(request)
    return JSONResponse(bucket.stored(name).info(bucket.name, name))


async def remove(server: SupabaseServer, request: Request) -> Response:
    bucket = server.bucket(request)
    body = await _json(request, required={"prefixes": list}, optional={})
    if not 0 < len(body["prefixes"]) <= MOST_DELETED_AT_ONCE:
        raise StorageRefusal(400, "InvalidRequest", "body/prefixes must have 1 to 1000 items")
    there = [name for name in body["prefixes"] if name in bucket.objects]
    rows = [bucket.objects.pop(name).row(name) for name in dict.fromkeys(there)]
    seen(request).facts["removed"] = len(rows)
    return JSONResponse(rows)


async def list_folder(server: SupabaseServer, request: Request) -> Response:
    """One level below a prefix; folders have no id."""
    bucket = server.bucket(request)
    body = await _json(
        request,
        required={"prefix": str},
        optional={"limit": int, "offset": int, "sortBy": dict, "search": str},
    )
    prefix = body["prefix"].strip("/")
    below = f"{prefix}/" if prefix else ""
    rows: dict[str, Any] = {}
    for name in sorted(bucket.objects):
        if name.startswith(below):
            first, _, more = name.removeprefix(below).partition("/")
            nothing = dict.fromkeys(("id", "updated_at", "created_at", "metadata"))
            rows[first] = {"name": first, **nothing} if more else bucket.objects[name].row(first)
    first, limit = body.get("offset", 0), body.get("limit", 100)
    return JSONResponse(list(rows.values())[first : first + limit])


async def list_all(server: SupabaseServer, request: Request) -> Response:
    """Whatever begins with a prefix, with a cursor to the next page."""
    if server.option("no_list_v2"):
        body = {"message": "Route not found", "error": "Not Found", "statusCode": 404}
        return JSONResponse(body, 404)
    bucket = server.bucket(request)
    body = await _json(
        request,
        required={},
        optional={
            "prefix": str,
            "limit": int,
            "cursor": str,
            "with_delimiter": bool,
            "sortBy": dict,
        },
    )
    if body.get("with_delimiter"):
        raise StorageRefusal(400, "InvalidRequest", "this server lists without a delimiter only")
    limit = body.get("limit", 1000)
    if not 1 <= limit <= 1000:
        raise StorageRefusal(400, "InvalidRequest", "body/limit must be >= 1")
    names = sorted(
        name
        for name in bucket.objects
        if name.startswith(body.get("prefix", "")) and name > body.get("cursor", "")
    )
    page = names[:limit]
    found: dict[str, Any] = {"hasNext": len(names) > limit, "folders": []}
    found["objects"] = [{**bucket.objects[name].row(name), "key": name} for name in page]
    if found["hasNext"]:
        found["nextCursor"] = page[-1]
    return JSONResponse(found)


async def sign(server: SupabaseServer, request: Request) -> Response:
    bucket, name = server.bucket(request), _name(request)
    body = await _json(request, required={"expiresIn": (str)}, optional={})
    if not body["expiresIn"].isdecimal():
        raise StorageRefusal(400, "InvalidRequest", "body/expiresIn must be integer")
    bucket.stored(name)
    until = datetime.now(UTC) + timedelta(seconds=int(body["expiresIn"]))
    token = f"{TOKEN}-{uuid4()}"
    bucket.signed[token] = (name, until)
    return JSONResponse({"signedURL": f"/object/sign/{bucket.name}/{name}?token={token}"})


async def download_signed(server: SupabaseServer, request: Request) -> Response:
    bucket, name = server.bucket(request), _name(request)
    signed, until = bucket.signed.get(request.query_params["token"], ("", datetime.now(UTC)))
    if signed != name or until <= datetime.now(UTC):
        raise StorageRefusal(400, "InvalidJWT", '"exp" claim timestamp check failed')
    return _served(bucket.stored(name))


def _name(request: Request) -> str:
    name: str = request.path_params["name"]
    if not OBJECT_KEY.fullmatch(name):
        raise StorageRefusal(400, "InvalidKey", f"Invalid key: {name}")
    return name


ROUTES: tuple[tuple[str, list[str], Handler], ...] = (
    ("/bucket", ["POST"], create_bucket),
    ("/bucket/{bucket}", ["GET"], get_bucket),
    ("/object/public/{bucket}/{name:path}", ["GET"], download_public),
    ("/object/authenticated/{bucket}/{name:path}", ["GET"], download),
    ("/object/info/{bucket}/{name:path}", ["GET"], info),
    ("/object/sign/{bucket}/{name:path}", ["POST"], sign),
    ("/object/sign/{bucket}/{name:path}", ["GET"], download_signed),
    ("/object/list/{bucket}", ["POST"], list_folder),
    ("/object/list-v2/{bucket}", ["POST"], list_all),
    ("/object/{bucket}/{name:path}", ["POST", "PUT"], upload),
    ("/object/{bucket}/{name:path}", ["GET"], download),
    ("/object/{bucket}", ["DELETE"], remove),
)
