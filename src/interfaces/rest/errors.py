"""What can be wrong with a request, beside what the business says of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from uuid import UUID

from domain.api_key import Scope
from domain.failure import FailureKind
from domain.generation import Generation
from domain.user import Role


@dataclass(frozen=True)
class Mistake:
    """What is wrong, and where: a JSON pointer into the body, or the name of a parameter."""

    detail: str
    pointer: str | None = None
    parameter: str | None = None


class RequestError(Exception):
    """A request that HTTP or JSON, not the business, finds wrong."""

    sentence = ""

    def __init__(
        self,
        sentence: str = "",
        mistakes: tuple[Mistake, ...] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.mistakes = mistakes
        self.headers = headers or {}
        super().__init__(sentence or self.sentence)


class NotAuthenticatedError(RequestError):
    sentence = "Send your API key, `Authorization: Bearer <key>`, or log in at /auth/login."


class NotAllowedError(RequestError):
    """The caller is known, and their scopes are not enough."""

    def __init__(self, scopes: Collection[Scope], *, role: Role) -> None:
        named = " or ".join(f"`{scope}`" for scope in sorted(scopes))
        if "admin" in scopes and role != "administrator":
            sentence = "Only administrators may do this."
        else:
            sentence = f"This API key lacks the scope {named}. Use one that has it."
        challenge = f'Bearer realm="darkroom", error="insufficient_scope", scope="{named}"'
        super().__init__(sentence, headers={"WWW-Authenticate": challenge.replace("`", "")})


class NotInPersonError(RequestError):
    sentence = "This takes a person who is logged in, or an administrator's key: log in and repeat."


class OtherSiteError(RequestError):
    """A browser was asked for this by a page that is not ours."""

    sentence = (
        "`Sec-Fetch-Site` and `Origin` do not say that a page of this service asks for this. Ask"
        " from one, or with an API key instead of a session."
    )


class LoginNotBegunError(RequestError):
    """A browser comes back with what it was not given, or no longer has."""

    sentence = (
        "This login was not begun in this browser, or was finished before, or took longer than ten"
        " minutes. Log in again."
    )


class LoginCancelledError(RequestError):
    sentence = "You did not let the login provider tell us who you are, so you are not logged in."


class LoginRefusedError(RequestError):
    def __init__(self, reason: str | None) -> None:
        said = f" It says: `{reason}`." if reason else ""
        super().__init__(f"The login provider sent you back without a proof of who you are.{said}")


class NotFoundError(RequestError):
    sentence = "There is nothing here, or it is not yours."


class UnreadableRequestError(RequestError):
    sentence = "What was sent is no HTTP/1.1 request, or its body is no longer one."


class HeadTooLargeError(RequestError):
    def __init__(self, most: int) -> None:
        super().__init__(f"The request line and headers are larger than {most} bytes. Send fewer.")


class RequestTimeoutError(RequestError):
    """The rest of a request did not come; the connection ends with the answer."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} Send it again.", headers={"Connection": "close"})


class RangeNotSatisfiableError(RequestError):
    def __init__(self, size: int) -> None:
        super().__init__(
            f"The picture has {size} bytes, and none of them lie in the range that was asked for.",
            headers={"Content-Range": f"bytes */{size}"},
        )


class BodyTooLargeError(RequestError):
    def __init__(self, most: int, remedy: str = "Send smaller or fewer images.") -> None:
        super().__init__(f"The body is larger than {most} bytes. {remedy}")


class TooMuchInFlightError(RequestError):
    sentence = "Too many large bodies are on their way at once. Send it again in a moment."


class ProcessEndsError(RequestError):
    """Whether a command was recorded is not known: it was cut off."""

    sentence = (
        "This process is ending and could not finish the request. Send it again: with the same"
        " Idempotency-Key nothing happens twice."
    )


class NoRoomForUploadError(RequestError):
    """The files of a form go to this machine's temporary folder while they arrive."""

    sentence = "The upload cannot be kept just now: this machine's temporary folder is full."


class TooManyConnectionsError(RequestError):
    """Nobody asked for anything yet: the connection ends with the answer."""

    sentence = "Too many connections are open. Close some, or come back in a moment."


class MediaTypeError(RequestError):
    sentence = (
        "Send JSON (`Content-Type: application/json`) or a form with files (`multipart/form-data`)."
    )


class MalformedBodyError(RequestError):
    """The body is no JSON, or has more than one meaning."""


class ShapeError(RequestError):
    def __init__(self, mistakes: tuple[Mistake, ...]) -> None:
        super().__init__("Some fields are not as they must be; `errors` names them.", mistakes)


class CursorRefusedError(RequestError):
    sentence = "This cursor was not given by this service. Start again without one."


class MalformedIdempotencyKeyError(RequestError):
    sentence = (
        'The Idempotency-Key is malformed. Send one of 1 to 255 printable characters: "8e03978e".'
    )


class EventIdRefusedError(RequestError):
    sentence = (
        "Last-Event-ID must be the id of an event of this stream. "
        "Leave it out to be told everything from the beginning."
    )


class OfGenerationError(Exception):
    """Something about a generation that is there; `headers` are what the answer carries besides."""

    def __init__(self, generation_id: UUID, sentence: str) -> None:
        self.generation_id = generation_id
        self.headers: dict[str, str] = {}
        super().__init__(sentence)


class AcceptedUnreadableError(OfGenerationError):
    def __init__(self, generation_id: UUID) -> None:
        super().__init__(
            generation_id, "It was accepted and goes on, but cannot be shown now. Get it later."
        )


class NotWaitedForError(OfGenerationError):
    """Whoever cannot be answered 202 hears of it when this process has to let go."""

    def __init__(self, generation_id: UUID) -> None:
        super().__init__(
            generation_id,
            "It was accepted and goes on, but this process cannot wait for it any longer. OpenAI's "
            "SDKs send it again by themselves, and are given the same pictures.",
        )


class EndedWithoutPictureError(OfGenerationError):
    """A generation reached its final state without a picture while its caller waited."""


class ModerationRefusedError(EndedWithoutPictureError):
    pass


class RequestRefusedError(EndedWithoutPictureError):
    pass


class DeadlinePassedError(EndedWithoutPictureError):
    pass


class ProviderFailedError(EndedWithoutPictureError):
    pass


class GenerationCancelledError(EndedWithoutPictureError):
    pass


FAILED: Mapping[FailureKind, type[EndedWithoutPictureError]] = {
    "moderation_input": ModerationRefusedError,
    "moderation_output": ModerationRefusedError,
    "no_image": ProviderFailedError,
    "invalid_request": RequestRefusedError,
    "rate_limited": ProviderFailedError,
    "out_of_funds": ProviderFailedError,
    "misconfigured": ProviderFailedError,
    "unavailable": ProviderFailedError,
    "outcome_unknown": ProviderFailedError,
    "image_store_unavailable": ProviderFailedError,
    "reference_gone": RequestRefusedError,
    "deadline_passed": DeadlinePassedError,
}


def ended_without_picture(generation: Generation) -> EndedWithoutPictureError | None:
    """What to tell a caller who waited for this generation; None when all is well."""
    if generation.status == "cancelled":
        return GenerationCancelledError(generation.id, "The generation was cancelled.")
    if generation.status == "failed" and generation.error is not None:
        kind, sentence = generation.error
        return FAILED[kind](generation.id, sentence)
    return None
