"""Every kind of error that a client can see: what happened, why, and what to do.

This is the one table; the OpenAPI document, docs/errors.md and the pages under /problems are made
of it. `code` and `type` never change.
"""

from __future__ import annotations

from dataclasses import dataclass

PROBLEM_JSON = "application/problem+json"
IANA = "https://iana.org/assignments/http-problem-types#"


@dataclass(frozen=True)
class ProblemType:
    """A kind of error: `title` says what happened, `why` what led to it, `remedy` what helps."""

    status: int
    code: str
    title: str
    why: str
    remedy: str
    iana: bool = False

    @property
    def type(self) -> str:
        """The URI that identifies it."""
        return f"{IANA}{self.code}" if self.iana else f"/problems/{self.code}"


UNREADABLE_REQUEST = ProblemType(
    400,
    "unreadable-request",
    "The request cannot be read as HTTP",
    "What came over the connection is no HTTP/1.1 request, or its body is no longer one.",
    "Use an HTTP client library; look at what lies between it and the service.",
)
LOGIN_NOT_BEGUN = ProblemType(
    400,
    "login-not-begun",
    "The login was not begun in this browser",
    "What came back from the login provider belongs to no login that is under way here: it was "
    "finished before, took longer than ten minutes, or somebody else began it.",
    "Log in again at `/auth/login`; the browser must accept cookies of this service.",
)
MALFORMED_BODY = ProblemType(
    400,
    "malformed-body",
    "The body cannot be read",
    "It is no UTF-8, no JSON, a form without its end, or it has more than one meaning: a name "
    "twice, a number that is none.",
    "Let a library write the body. `detail` says where it broke.",
)
CURSOR_REFUSED = ProblemType(
    400,
    "cursor-refused",
    "The cursor is not valid",
    "Cursors are opaque, and good only for the service that gave them.",
    "Start again without a cursor and follow `nextCursor` or the `Link` header.",
)
EVENT_ID_REFUSED = ProblemType(
    400,
    "event-id-refused",
    "The Last-Event-ID is not an event's of this stream",
    "It was made up, or belongs to another generation, or the service was restored from a backup.",
    "Leave the header out to be told everything from the beginning.",
)
IDEMPOTENCY_KEY_MALFORMED = ProblemType(
    400,
    "idempotency-key-malformed",
    "The Idempotency-Key is malformed",
    "A key is one string of 1 to 255 printable ASCII characters, quoted or bare.",
    'Send a fresh UUID: `Idempotency-Key: "8e03978e-40d5-43dd-bc93-6894a57f9324"`.',
)
NOT_AUTHENTICATED = ProblemType(
    401,
    "not-authenticated",
    "An API key or a login is needed",
    "The request carries neither an API key nor a session, or one that is not valid (any more).",
    "Send `Authorization: Bearer <key>`, or log in at `/auth/login`.",
)
NOT_ALLOWED = ProblemType(
    403,
    "not-allowed",
    "You may not do this",
    "It is for administrators, or for a person who is logged in, or the API key lacks a scope.",
    "`detail` says what is missing: use another key, log in, or ask whoever runs the service.",
)
LINK_USED = ProblemType(
    403,
    "login-link-used",
    "The login link was used before",
    "A login link is good for one login, so that whoever finds it later cannot use it.",
    "Have a new one made: `darkroom login-link` does.",
)
LINK_REFUSED = ProblemType(
    400,
    "login-link-refused",
    "The login link is not valid",
    "It was cut short, is older than ten minutes, or was made with another administrator's key.",
    "Have a new one made: `darkroom login-link` does.",
)
LOGIN_CANCELLED = ProblemType(
    403,
    "login-cancelled",
    "The login was cancelled",
    "At the login provider you said no, or were not allowed to go on.",
    "Log in again, and let the provider tell who you are.",
)
LOGIN_REFUSED = ProblemType(
    403,
    "login-refused",
    "The login provider refused the login",
    "It sent the browser back without a proof, or with one that it takes for used or too old.",
    "Log in again at `/auth/login`. If it stays so, tell whoever runs the service the `requestId`.",
)
EMAIL_NOT_VERIFIED = ProblemType(
    403,
    "email-not-verified",
    "The email address is not verified",
    "The login provider does not vouch for it, so it could be anybody's.",
    "Verify it at the provider, or log in with an account whose address is verified.",
)
DOMAIN_NOT_ALLOWED = ProblemType(
    403,
    "domain-not-allowed",
    "Accounts of this domain may not log in",
    "Whoever runs the service lets in people of some email domains only.",
    "Log in with another account, or ask whoever runs the service.",
)
LOCKED_OUT = ProblemType(
    403,
    "locks-out",
    "It would lock out an administrator",
    "Administrators cannot suspend or demote themselves, nor the one that comes with the service.",
    "Let another administrator do it.",
)
OTHER_SITE = ProblemType(
    403,
    "other-site",
    "Another site's page asked for this",
    "A browser sent the cookie of a session, and did not say that a page of this service asked.",
    "Ask from a page of this service, or with an API key instead of a session.",
)
SUSPENDED = ProblemType(
    403,
    "suspended",
    "The account is suspended",
    "An administrator suspended whoever the API key or the session belongs to.",
    "Ask whoever runs the service to reinstate the account.",
)
NOT_FOUND = ProblemType(
    404,
    "not-found",
    "Not found",
    "There is nothing at this address, or it belongs to somebody else: nobody is told which.",
    "Check the id and the API key. New generations may be missing from lists for a moment, never "
    "from their own address.",
)
LOGIN_NOT_CONFIGURED = ProblemType(
    404,
    "login-not-configured",
    "There is no login provider here",
    "The operator has set no `OIDC_CLIENT_ID`.",
    "Use an API key. Whoever runs the service logs in by a link: `darkroom login-link` makes one.",
)
METHOD_NOT_ALLOWED = ProblemType(
    405,
    "method-not-allowed",
    "This method is not offered here",
    "The address exists and offers other methods.",
    "Use one of those that the header `Allow` names.",
)
REQUEST_TIMEOUT = ProblemType(
    408,
    "request-timeout",
    "The request did not come in time",
    "Nothing more of the request arrived for a while, so its connection was given up.",
    "Send it again, with its Idempotency-Key, over a better connection.",
)
GENERATION_CLOSED = ProblemType(
    409,
    "generation-closed",
    "The generation is in a final state",
    "Completed, failed and cancelled are final.",
    "Retry it: that makes a new generation.",
)
GENERATION_OPEN = ProblemType(
    409,
    "generation-open",
    "The generation is not in a final state",
    "Only what has ended can be retried or deleted.",
    "Wait for its end or cancel it first.",
)
GENERATION_CANCELLED = ProblemType(
    409,
    "generation-cancelled",
    "The generation was cancelled",
    "Somebody cancelled it while this request waited for its pictures.",
    "Nothing, if that was you. Otherwise retry it.",
)
CONTENDED = ProblemType(
    409,
    "contended",
    "What is to be changed is just changing",
    "Others changed it each time that your change was decided.",
    "Look at it, then try again.",
)
TOO_MANY_WEBHOOKS = ProblemType(
    409,
    "too-many-webhooks",
    "There are as many webhooks as there can be",
    "A user may have 20 of them.",
    "Remove one that is not needed any more.",
)
TOO_MANY_WEBHOOK_CHANGES = ProblemType(
    409,
    "too-many-webhook-changes",
    "The webhooks were changed as often as they can be",
    "All that a user ever decided about webhooks is kept, and may be 5000 decisions.",
    "They can be disabled and removed all the same. Name a `webhookUrl` in requests instead.",
)
TOO_MANY_RESENDS = ProblemType(
    409,
    "too-many-resends",
    "The delivery was sent again as often as it can be",
    "It may be sent again by hand 100 times.",
    "Look the generation up by its id instead.",
)
WEBHOOK_DISABLED = ProblemType(
    409,
    "webhook-disabled",
    "The webhook is disabled",
    "You disabled it, or it answered 410, or nothing for days.",
    'Enable it (`PATCH` with `{"enabled": true}`), then send again.',
)
BODY_TOO_LARGE = ProblemType(
    413,
    "body-too-large",
    "The body is too large",
    "A request for pictures may have 32 MiB, reference images and all; any other has 64 KiB.",
    "Send smaller or fewer reference images; JPEG or WebP instead of PNG, or a form with files "
    "instead of base64, which is a third longer. What has no pictures is small.",
)
UNSUPPORTED_MEDIA_TYPE = ProblemType(
    415,
    "unsupported-media-type",
    "The body must be JSON or a form with files",
    "The header `Content-Type` is missing or names something else.",
    "Send `Content-Type: application/json`, or let a library make a `multipart/form-data` body.",
)
RANGE_NOT_SATISFIABLE = ProblemType(
    416,
    "range-not-satisfiable",
    "The range cannot be served",
    "The picture is shorter than the range that was asked for.",
    "Ask for a range within the size that `Content-Range` tells, or for all of it.",
)
INVALID_REQUEST = ProblemType(
    422,
    "invalid-request",
    "The request is not as it must be",
    "Some fields or parameters are missing, unknown, or not what they have to be.",
    "`errors` names each with what would be right: in the body by JSON pointer, in the URL by "
    "parameter.",
)
NO_PROVIDER = ProblemType(
    422,
    "no-provider",
    "No provider can do this",
    "None of the configured providers offers this combination of model, size, format and the rest.",
    "`detail` gives each provider's reason. Change what it names, or leave it out.",
)
UNUSABLE_REFERENCE_IMAGE = ProblemType(
    422,
    "unusable-reference-image",
    "A reference image or the mask cannot be used",
    "It is no complete, still PNG, JPEG or WebP image of a sane size, whatever it is called; or it "
    "names a generation that has no such picture for you; or the mask does not fit.",
    "`errors` says which and why. Nothing was recorded: send all of them again.",
)
DEADLINE_TOO_LONG = ProblemType(
    422,
    "deadline-too-long",
    "The deadline is longer than allowed here",
    "The operator limits how long a generation may take.",
    "Ask for at most what `detail` says, or leave `deadlineSeconds` out.",
)
IDEMPOTENCY_KEY_REUSED = ProblemType(
    422,
    "idempotency-key-reused",
    "The Idempotency-Key belongs to another request",
    "It was used for a different request within the last 24 hours.",
    "Use a new key for a new request, and the same key only to repeat one.",
)
KEY_NOT_POSSIBLE = ProblemType(
    422,
    "key-not-possible",
    "Such an API key cannot be issued",
    "It would have expired already, or expire after 2199, or have a scope that its owner's role "
    "does not give.",
    "Choose another expiry or fewer scopes, or have an administrator change the role first.",
)
MODERATION_REFUSED = ProblemType(
    422,
    "moderation-refused",
    "The provider's safety rules refused it",
    "The prompt, a reference image or the finished picture went against them. Units went back.",
    "Change the wording or the reference image. The same request will be refused again.",
)
REQUEST_REFUSED = ProblemType(
    422,
    "request-refused",
    "The request cannot be fulfilled as it stands",
    "The provider, or a reference image that is gone, made it impossible. Units went back.",
    "`detail` says what to change.",
)
QUOTA_EXCEEDED = ProblemType(
    429,
    "quota-exceeded",
    "The quota is used up",
    "The pictures asked for do not fit into today's or this month's units: yours, or those of the "
    "end user whom you named. `violated-policies` says which.",
    "Ask for fewer pictures, or for a higher limit, or wait for as long as `Retry-After` says; "
    "without that header waiting does not help.",
    iana=True,
)
RATE_LIMITED = ProblemType(
    429,
    "rate-limited",
    "Too many requests came at once",
    "The operator limits how often one API key and one user may ask, and from one address how "
    "often somebody may log in or show what is no valid key. `violated-policies` says which limit "
    "it was, `RateLimit-Policy` tells them all.",
    "Wait for as long as `Retry-After` says, and send it again with the same Idempotency-Key. "
    "Spread requests out: `RateLimit` in every answer says how many more are admitted.",
)
TOO_MANY_IN_FLIGHT = ProblemType(
    429,
    "too-many-in-flight",
    "Too many generations of yours are in flight",
    "The operator limits how many generations of one user may be queued or processing at once, so "
    "that nobody's flood delays the others.",
    "Send it again after `Retry-After` seconds, with the same Idempotency-Key, or when one of "
    "yours has ended. Cancel what you no longer need.",
)
HEAD_TOO_LARGE = ProblemType(
    431,
    "head-too-large",
    "The headers are too large",
    "Request line and headers may have 64 KiB together.",
    "Send fewer or shorter headers; what is long belongs into the body.",
)
INTERNAL_ERROR = ProblemType(
    500,
    "internal-error",
    "Something unexpected happened here",
    "That is a bug of ours. It was logged under the `requestId`.",
    "Try again, with the same Idempotency-Key; tell us the `requestId` if it stays so.",
)
WEBHOOKS_OFF = ProblemType(
    501,
    "webhooks-off",
    "Webhooks are off here",
    "There is nothing to make their secrets of.",
    "Whoever runs the service has to set `DARKROOM_SECRET_KEY`. Until then follow a generation by "
    "its events.",
)
PROVIDER_FAILED = ProblemType(
    502,
    "provider-failed",
    "The provider made no picture",
    "It was not available, or answered without one, as often as it was asked. Units went back.",
    "Retry the generation later, or ask for another provider.",
)
LOGIN_PROVIDER_UNAVAILABLE = ProblemType(
    502,
    "login-provider-unavailable",
    "The login provider does not answer",
    "It is away, too slow, or answers what it must not; the log says which. Sessions go on.",
    "Log in again in a moment. API keys work meanwhile.",
)
LOGIN_UNPROVEN = ProblemType(
    502,
    "login-unproven",
    "What the login provider says cannot be verified",
    "Its signature, issuer, audience, time or nonce is not what it has to be; the log says which.",
    "Log in again. If it stays so, tell whoever runs the service the `requestId`.",
)
BUSY = ProblemType(
    503,
    "temporary-reduced-capacity",
    "The service is not available",
    "Something it depends on does not answer, or more is asked of it than it can do just now.",
    "Send it again after `Retry-After` seconds, with the same Idempotency-Key.",
    iana=True,
)
DEADLINE_PASSED = ProblemType(
    504,
    "deadline-passed",
    "The picture was not made in time",
    "The generation's deadline passed before a picture was finished. Units went back, but not "
    "where a deadline shorter than a call may take cut off a call.",
    "Retry it later, or with a longer `deadlineSeconds`.",
)

PROBLEM_TYPES: tuple[ProblemType, ...] = tuple(
    sorted(
        (kind for kind in globals().values() if isinstance(kind, ProblemType)),
        key=lambda kind: (kind.status, kind.code),
    )
)

OF_LOGINS = (
    *(LOGIN_NOT_CONFIGURED, LOGIN_NOT_BEGUN, LOGIN_CANCELLED, LOGIN_REFUSED),
    *(LOGIN_PROVIDER_UNAVAILABLE, LOGIN_UNPROVEN, EMAIL_NOT_VERIFIED, DOMAIN_NOT_ALLOWED),
    *(LINK_REFUSED, LINK_USED),
)
"""What can go wrong where people log in, and nowhere else."""

ANYWHERE = (UNREADABLE_REQUEST, HEAD_TOO_LARGE, INTERNAL_ERROR)
"""What every operation may answer."""
