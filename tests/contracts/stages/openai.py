"""OpenAI on stage: what each error of its server comes to."""

from infrastructure.providers.openai import OpenAIProvider
from tests.contracts.stages.stage import Outcome, ServedStage
from tests.servers.openai import KEY, server

BROKEN_ACCOUNT = Outcome("misconfigured")
BROKEN_MODEL = Outcome("misconfigured", of_model=True)
OUT_OF_FUNDS = Outcome("out_of_funds")
NO_PICTURE = Outcome("no_image", costs=True)
INVALID = Outcome("invalid_request")

ERRORS = {
    "moderation_input": Outcome("moderation_input"),
    "moderation_output": Outcome("moderation_output"),
    "moderation_unknown": Outcome("moderation_output"),
    "moderation_without_stage": Outcome("moderation_output"),
    "insufficient_quota": OUT_OF_FUNDS,
    "billing_hard_limit_reached": OUT_OF_FUNDS,
    "rate_limit_exceeded": Outcome("rate_limited", retry_after=6.5),
    "rate_limit_in_seconds": Outcome("rate_limited", retry_after=20),
    "rate_limit_by_reset": Outcome("rate_limited", retry_after=72),
    "rate_limit_without_wait": Outcome("rate_limited"),
    "invalid_api_key": BROKEN_ACCOUNT,
    "unsupported_country": BROKEN_ACCOUNT,
    "no_such_route": BROKEN_ACCOUNT,
    "unverified_organization": BROKEN_MODEL,
    "retired_model": BROKEN_MODEL,
    "no_such_model": BROKEN_MODEL,
    "bad_size": INVALID,
    "too_large": INVALID,
    "too_large_for_proxy": INVALID,
    "unprocessable": INVALID,
    "conflict": Outcome("unavailable"),
    "moved": BROKEN_ACCOUNT,
    "moved_elsewhere": BROKEN_ACCOUNT,
    "flood": INVALID,
    "server_error": Outcome("unavailable"),
    "overloaded": Outcome("unavailable", retry_after=3),
    "bad_gateway": Outcome("unavailable"),
    "login_page": Outcome("no_image"),
    "compressed": Outcome("no_image"),
    "not_json": Outcome("no_image"),
    "not_an_object": Outcome("no_image"),
    "not_base64": NO_PICTURE,
    "odd_image": NO_PICTURE,
    "no_b64": NO_PICTURE,
    "empty_data": NO_PICTURE,
    "null_data": NO_PICTURE,
    "one_too_few": NO_PICTURE,
}
LOST = ("request_timeout", "gateway_timeout", "gateway_timeout_in_json", "proxy_timeout")

STAGE = ServedStage(
    name="openai",
    server=server,
    made_at=lambda address, patience: OpenAIProvider(
        api_key=KEY, base_url=f"{address}/v1", read_seconds=patience
    ),
    errors=ERRORS,
    secret=KEY,
    # What is no image is found out where it is decoded; streams are not asked for.
    harmless=(
        "not_an_image",
        "one_more",
        "no_usage",
        "odd_usage",
        "no_input_details",
        "stream_error",
    ),
    lost=LOST,
)
