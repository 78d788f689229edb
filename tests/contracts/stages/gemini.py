"""Gemini on stage: what each problem and each odd answer of its server comes to."""

from infrastructure.providers.gemini import GeminiProvider
from tests.contracts.stages.stage import Outcome, ServedStage
from tests.servers.gemini import KEY, server
from tests.servers.gemini_answers import BLOCK_REASONS

MISCONFIGURED = Outcome("misconfigured")
UNAVAILABLE = Outcome("unavailable")
WITHHELD = Outcome("moderation_output", costs=True)
NO_PICTURE = Outcome("no_image", costs=True)
NOTHING = Outcome("no_image")

ERRORS = {
    "rate_limited": Outcome("rate_limited", retry_after=34, of_model=True),
    "rate_limited_briefly": Outcome("rate_limited", retry_after=0.074824, of_model=True),
    "rate_limited_silently": Outcome("rate_limited"),
    "quota_of_the_day": Outcome("out_of_funds", of_model=True),
    "quota_of_zero": Outcome("out_of_funds", of_model=True),
    "no_credit": Outcome("out_of_funds"),
    "invalid_argument": Outcome("invalid_request"),
    "api_key_invalid": MISCONFIGURED,
    "location_refused": MISCONFIGURED,
    "permission_denied": MISCONFIGURED,
    "not_found": Outcome("misconfigured", of_model=True),
    "moved": MISCONFIGURED,
    "internal": UNAVAILABLE,
    "unavailable": UNAVAILABLE,
    "deadline_exceeded": UNAVAILABLE,
    "bad_gateway": UNAVAILABLE,
    "bad_gateway_in_latin": UNAVAILABLE,
    "problem_without_end": UNAVAILABLE,
    "no_content": NOTHING,
    **{f"blocked_{why.lower()}": Outcome("moderation_input", costs=True) for why in BLOCK_REASONS},
    "blocked_beside_a_candidate": Outcome("moderation_input", costs=True),
    "finish_safety": WITHHELD,
    "finish_prohibited_content": WITHHELD,
    "finish_blocklist": WITHHELD,
    "finish_spii": WITHHELD,
    "finish_recitation": WITHHELD,
    "finish_image_safety": WITHHELD,
    "finish_image_prohibited_content": WITHHELD,
    "finish_image_recitation": WITHHELD,
    "blocked_with_picture": WITHHELD,
    "finish_no_image": NO_PICTURE,
    "finish_other": NO_PICTURE,
    "finish_max_tokens": NO_PICTURE,
    "finish_continuation": NO_PICTURE,
    "finish_something_new": NO_PICTURE,
    "finish_image_other": NOTHING,  # and it says that nothing is charged
    "empty_content": NO_PICTURE,
    "parts_null": NO_PICTURE,
    "role_only": NO_PICTURE,
    "no_candidates": NOTHING,
    "only_thoughts": NO_PICTURE,
    "text_only": NO_PICTURE,
    "text_only_without_split": NO_PICTURE,
    "broken_base64": NO_PICTURE,
    "other_media": NO_PICTURE,
    "nested_without_end": NOTHING,
    "not_json": NOTHING,
    "wrong_shape": NOTHING,
    "empty_body": NOTHING,
}

STAGE = ServedStage(
    name="gemini",
    server=server,
    made_at=lambda address, patience: GeminiProvider(
        api_key=KEY, base_url=address, read_seconds=patience
    ),
    errors=ERRORS,
    secret=KEY,
    # What is no image is found out where it is decoded.
    harmless=(
        *("thoughts", "two_pictures", "no_usage", "no_split", "no_picture_bytes", "odd_facts"),
        *("split_of_nothing", "split_null", "split_of_text", "split_of_nulls"),
    ),
    lost=("gateway_timeout", "gateway_timeout_in_latin", "request_timeout", "origin_timeout"),
)
