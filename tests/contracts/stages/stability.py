"""Stability AI on stage: what each error of its server comes to."""

from infrastructure.providers.stability import StabilityProvider
from tests.contracts.stages.stage import Outcome, ServedStage
from tests.servers.stability import KEY, server

BROKEN_ACCOUNT = Outcome("misconfigured")
BROKEN_MODEL = Outcome("misconfigured", of_model=True)
INVALID = Outcome("invalid_request")
REFUSED = Outcome("moderation_input")
UNAVAILABLE = Outcome("unavailable")
MADE_IN_VAIN = Outcome("no_image", costs=True)

STAGE = ServedStage(
    name="stability",
    server=server,
    made_at=lambda address, patience: StabilityProvider(
        api_key=KEY, base_url=address, read_seconds=patience
    ),
    errors={
        "bad_request": INVALID,
        "unknown_model": BROKEN_MODEL,
        "unauthorized": BROKEN_ACCOUNT,
        "unauthorized_v1": BROKEN_ACCOUNT,
        "payment_required": Outcome("out_of_funds"),
        "content_moderation": REFUSED,
        "not_found": BROKEN_MODEL,
        "payload_too_large": INVALID,
        "invalid_language": INVALID,
        "public_figure": REFUSED,
        "rate_limit_exceeded": Outcome("rate_limited", retry_after=60),
        "internal_error": UNAVAILABLE,
        "proxy_forbids": BROKEN_ACCOUNT,
        "proxy_redirects": BROKEN_ACCOUNT,
        "proxy_502": UNAVAILABLE,
        "proxy_503": UNAVAILABLE,
        "proxy_page": Outcome("no_image"),
        "content_filtered": Outcome("moderation_output", costs=True),
        "no_verdict": MADE_IN_VAIN,
        "wrong_content_type": MADE_IN_VAIN,
        "empty_body": MADE_IN_VAIN,
    },
    secret=KEY,
    harmless=("not_an_image",),  # found out where it is decoded
    lost=("proxy_408", "proxy_504", "proxy_524"),
)
