"""What a call may ask of a vendor's model: all else is refused before it is paid for."""

from __future__ import annotations

from application.ports.providers import CallFailedError, CallRequest, Capabilities, Model
from domain.failure import Failure


def offered(request: CallRequest, capabilities: Capabilities, *, vendor: str) -> Model:
    """The model that is asked, one picture a call. Raises CallFailedError."""
    model = capabilities.model(request.model)
    if model is None:
        message = f"This release knows no such model of {vendor}'s."
        raise CallFailedError(Failure(kind="misconfigured", message=message, of_model=True))
    if len(request.images) != 1:
        raise invalid(f"{vendor} makes one picture a call.")
    if request.size not in (None, *model.sizes):
        raise invalid(f"{vendor}'s model makes no pictures of this size.")
    return model


def invalid(message: str) -> CallFailedError:
    """Of a request that has to be another."""
    return CallFailedError(Failure(kind="invalid_request", message=message))
