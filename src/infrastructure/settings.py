"""Darkroom's settings, read once from environment variables: one sentence for every mistake."""

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from application.ports.identity import GOOGLE
from domain.quota import MOST_UNITS
from domain.retries import Retries
from infrastructure import settings_values as values
from infrastructure.gatekeeping import rules
from infrastructure.gatekeeping.rules import CircuitRules, Concurrency, Rates
from infrastructure.rate_limiting import rates
from infrastructure.rate_limiting.rates import RateList
from infrastructure.settings_values import SketchFaults

__all__ = [
    "Settings",
    "SettingsError",
    "SketchFaults",
    "load_database_url",
    "load_settings",
    "needed",
    "variable",
    "without_settings",
]

T = TypeVar("T")

API_KEY = "DARKROOM_API_KEY"
FOR_THE_COMMAND_LINE = ("DARKROOM_URL", API_KEY)  # known here, read by client_settings
PREFIX = "DARKROOM_"
OTHERS = ("database_url", "redis_url", "openai_", "gemini_", "stability_", "supabase_", "oidc_")
"""Names of settings without the prefix: other programs call them so too."""
FOREIGN = (PREFIX, *map(str.upper, OTHERS), "GOOGLE_", "PG")
"""How variables begin that are somebody's Darkroom, or that a library would take for it."""
MASK = "********"
MOST_IN_FLIGHT = 1_000_000
NOT_SET = "not set"

_PASSWORD_IN_URL = re.compile(r"(?<=//).*(?=@)|(?<=password=)[^&]*")
_SENTENCES = {
    "int_parsing": "must be a whole number, not {input!r}",
    "float_parsing": "must be a number, not {input!r}",
    "finite_number": "must be a number, not {input!r}",
    "greater_than": "must be more than {gt:g}, not {input}",
    "greater_than_equal": "must be at least {ge:g}, not {input}",
    "less_than_equal": "must be at most {le:g}, not {input}",
    "literal_error": "must be {expected}, not {input!r}",
    "value_error": "{error}",
}


class SettingsError(Exception):
    """The environment does not describe a Darkroom; `mistakes` has one sentence for each reason."""

    def __init__(self, mistakes: tuple[str, ...]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


Secret = Annotated[SecretStr, AfterValidator(values.secret)]
ProviderKey = Annotated[SecretStr, AfterValidator(values.provider_key)]
WebAddress = Annotated[str, AfterValidator(values.web_address)]
Quota = Annotated[Annotated[int, Field(ge=0, le=MOST_UNITS)] | None, BeforeValidator(values.units)]
RatesOfOne = Annotated[RateList, BeforeValidator(rates.rate_list)]
Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
LongSeconds = Annotated[float, Field(gt=0, le=400 * 86_400, allow_inf_nan=False)]
SomeSeconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]


class Settings(BaseSettings):
    """What an operator decides; times are in seconds, quotas in images, None is no limit."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid")

    database_url: Annotated[str, AfterValidator(values.postgres_url)] | None = Field(
        None, repr=False
    )
    redis_url: Annotated[str, AfterValidator(values.redis_url)] | None = Field(
        None, repr=False, validate_default=True
    )
    data_dir: Annotated[Path, AfterValidator(values.writable_folder)] = Field(
        Path(".darkroom"), validate_default=True
    )
    host: Annotated[str, AfterValidator(values.host)] = "127.0.0.1"
    port: int = Field(8000, ge=1, le=65535)
    public_url: WebAddress = Field(default_factory=values.own_address)
    secret_key: Secret | None = None
    admin_key: Secret | None = None
    session_seconds: LongSeconds = 7 * 86_400.0
    session_idle_seconds: LongSeconds = 43_200.0
    key_rate: RatesOfOne = RateList.read("500/second,10000/minute")
    user_rate: RatesOfOne = RateList.read("1000/second,20000/minute")
    login_rate: RatesOfOne = RateList.read("60/minute,600/hour")
    guess_rate: RatesOfOne = RateList.read("30/minute,300/hour")
    cors_origins: Annotated[tuple[str, ...], BeforeValidator(values.origins)] = ()
    oidc_issuer: Annotated[str, AfterValidator(values.issuer)] = GOOGLE
    oidc_client_id: Annotated[str, AfterValidator(values.word)] | None = None
    oidc_client_secret: ProviderKey | None = Field(None, validate_default=True)
    login_domains: Annotated[tuple[str, ...], BeforeValidator(values.domains)] = ()
    trusted_proxies: Annotated[tuple[str, ...], BeforeValidator(values.addresses)] = ()
    openai_api_key: ProviderKey | None = None
    openai_base_url: WebAddress | None = None
    gemini_api_key: ProviderKey | None = None
    gemini_base_url: WebAddress | None = None
    gemini_api_version: Literal["v1", "v1beta", "v1alpha"] = "v1beta"
    stability_api_key: ProviderKey | None = None
    stability_base_url: WebAddress | None = None
    providers: Annotated[tuple[str, ...], BeforeValidator(values.providers)] = Field(
        default_factory=values.providers_with_a_key, validate_default=True
    )
    supabase_url: WebAddress | None = None
    supabase_key: ProviderKey | None = None
    supabase_bucket: Annotated[str, AfterValidator(values.bucket)] = "darkroom"
    image_store: Literal["filesystem", "supabase"] = "filesystem"
    daily_quota: Quota = 500
    monthly_quota: Quota = 10_000
    end_user_daily_quota: Quota = None
    end_user_monthly_quota: Quota = None
    most_in_flight: int = Field(10_000, ge=1, le=MOST_IN_FLIGHT)
    most_in_flight_per_user: int = Field(1000, ge=1, le=MOST_IN_FLIGHT, validate_default=True)
    wait_seconds: Annotated[Seconds, Field(le=600)] = 55.0
    leave_seconds: Annotated[Seconds, Field(le=300)] = 5.0
    sketch_seconds: Seconds = 0.0
    sketch_faults: Annotated[SketchFaults, BeforeValidator(values.faults)] = SketchFaults()
    sketch_images_per_call: int = Field(1, ge=1, le=10)
    sketch_ledger: Path | None = None
    lease_seconds: SomeSeconds = 15.0
    call_seconds: SomeSeconds = 180.0
    deadline_seconds: SomeSeconds = 900.0
    circuit: Annotated[CircuitRules, BeforeValidator(rules.circuit)] = CircuitRules()
    provider_rates: Annotated[Rates, BeforeValidator(rules.rates)] = Rates({})
    provider_concurrency: Annotated[Concurrency, BeforeValidator(rules.concurrency)] = Concurrency(
        {}
    )
    worker_slots: int = Field(8, ge=1, le=1000)
    webhook_networks: Annotated[tuple[str, ...], BeforeValidator(values.networks)] = ()
    webhook_retries: Annotated[Retries, BeforeValidator(values.retries)] = Retries()
    spool_bytes: int = Field(1024**3, ge=0)
    log_format: Literal["auto", "json", "console"] = "auto"

    @field_validator("redis_url")
    @classmethod
    def _servers_come_in_pairs(cls, redis_url: str | None, info: ValidationInfo) -> str | None:
        database_url = info.data.get("database_url", redis_url)  # absent: it has its own mistake
        if (database_url is None) != (redis_url is None):
            here, there = ("is set", "is not") if redis_url else ("is not set", "is")
            raise ValueError(
                f"{here}, and DATABASE_URL {there}: set both to use servers of yours, or neither"
                " to use the embedded ones"
            )
        return redis_url

    @field_validator("oidc_client_secret")
    @classmethod
    def _a_login_is_configured_whole(
        cls, secret: SecretStr | None, info: ValidationInfo
    ) -> SecretStr | None:
        named = info.data.get("oidc_client_id", "") is not None  # absent: it has its own mistake
        if secret is not None and not named:
            raise ValueError("is set, and OIDC_CLIENT_ID is not: set both, or neither")
        if secret is None and named and info.data.get("oidc_issuer") == GOOGLE:
            raise ValueError("is not set, and Google asks for it: set it beside OIDC_CLIENT_ID")
        return secret

    @field_validator("providers")
    @classmethod
    def _providers_have_keys(
        cls, providers: tuple[str, ...], info: ValidationInfo
    ) -> tuple[str, ...]:
        for name in providers:
            key = f"{name}_api_key"
            if key in Settings.model_fields and info.data.get(key, "") is None:
                raise ValueError(f"names {name}, and {variable(key)} is not set: set it")
        return providers

    @field_validator("providers")
    @classmethod
    def _nobody_asks_itself(
        cls, providers: tuple[str, ...], info: ValidationInfo
    ) -> tuple[str, ...]:
        url = info.data.get("openai_base_url")
        if "openai" in providers and url and values.leads_here(url, info.data):
            raise ValueError(
                "has openai, and OPENAI_BASE_URL leads to this Darkroom itself: it and"
                " OPENAI_API_KEY are set here for Darkroom's clients. Start Darkroom where they are"
                " not set, or name other providers"
            )
        return providers

    @field_validator("image_store")
    @classmethod
    def _supabase_has_an_address_and_a_key(cls, name: str, info: ValidationInfo) -> str:
        needed = ("supabase_url", "supabase_key") if name == "supabase" else ()
        unset = [variable(field) for field in needed if info.data.get(field, "") is None]
        if unset:
            are, them = ("is", "it") if len(unset) == 1 else ("are", "them")
            raise ValueError(f"is supabase, and {' and '.join(unset)} {are} not set: set {them}")
        return name

    @field_validator("most_in_flight_per_user")
    @classmethod
    def _a_user_is_one_of_all(cls, of_user: int, info: ValidationInfo) -> int:
        of_all = info.data.get("most_in_flight", of_user)
        if of_user > of_all:
            raise ValueError(
                f"is {of_user}, more than all users may have together: lower it, or raise"
                f" {variable('most_in_flight')} ({of_all})"
            )
        return of_user

    @field_validator("deadline_seconds")
    @classmethod
    def _a_call_fits_into_the_deadline(cls, deadline: float, info: ValidationInfo) -> float:
        if deadline < info.data.get("call_seconds", 0):
            raise ValueError(
                f"is {deadline:g}, less than one call may take: raise it, or lower"
                f" {variable('call_seconds')} ({info.data['call_seconds']:g})"
            )
        return deadline

    @classmethod
    def settings_customise_sources(
        cls, *_: Any, **sources: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what is given and nothing else: `load_settings` alone reads the environment."""
        return (sources["init_settings"],)

    def environ(self) -> dict[str, str]:
        """Return the variables that give these settings, secrets and all, to a child process."""
        quotas = {variable(name): values.UNLIMITED for name in ("daily_quota", "monthly_quota")}
        written = {variable(n): _written(value) for n, value in self if value not in (None, ())}
        return quotas | written

    def shown(self) -> dict[str, str]:
        """Return every setting for a reader: secrets and passwords are masked."""
        written = self.environ()
        return {
            name: MASK
            if name in _SECRETS and name in written
            else _PASSWORD_IN_URL.sub(MASK, written.get(name, NOT_SET))
            for name in map(variable, Settings.model_fields)
        }


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from environment variables, the process's own unless told otherwise.

    An empty variable counts as unset. All mistakes are raised together, as SettingsError.
    """
    texts = _texts(environ)
    unknown = tuple(_unknown_variables(texts))
    try:
        settings = Settings.model_validate(
            {
                name: texts[variable(name)]
                for name in Settings.model_fields
                if variable(name) in texts
            }
        )
    except ValidationError as error:
        raise SettingsError((*_mistakes(error), *unknown)) from None  # it would show the values
    if unknown:
        raise SettingsError(unknown)
    return settings


def load_database_url(environ: Mapping[str, str] | None = None) -> str:
    """Read the database's address alone, whatever else is set. Raises SettingsError."""
    try:
        url = _texts(environ)["DATABASE_URL"]
        return values.postgres_url(url)
    except KeyError:
        mistake = "is not set: set it. `darkroom up` takes care of a database of its own"
    except ValueError as error:
        mistake = str(error)
    raise SettingsError((f"DATABASE_URL {mistake}.",))


def for_the_command_line(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """What is set for client commands alone, for a reader: the key is masked."""
    texts = _texts(environ)
    given = {name: texts[name] for name in FOR_THE_COMMAND_LINE if name in texts}
    return {
        name: MASK if name == API_KEY else _PASSWORD_IN_URL.sub(MASK, text)
        for name, text in given.items()
    }


def _texts(environ: Mapping[str, str] | None) -> dict[str, str]:
    given = os.environ if environ is None else environ
    return {name: text.strip() for name, text in given.items() if text.strip()}


def without_settings(environ: Mapping[str, str], *, but: tuple[str, ...] = ()) -> dict[str, str]:
    """Return an environment for a Darkroom of its own: nobody's data, servers or keys in it.

    `but` are names of providers and image stores that are meant to be the surroundings' own.
    """
    kept = tuple(f"{name.upper()}_" for name in but)
    return {
        name: text
        for name, text in environ.items()
        if not name.startswith(FOREIGN) or name.startswith(kept)
    }


def variable(name: str) -> str:
    """Return the environment variable of a setting."""
    return name.upper() if name.startswith(OTHERS) else PREFIX + name.upper()


def needed(name: str, value: T | None) -> T:
    """Return a setting that is there. Raises SettingsError where it is not."""
    if value is None:
        raise SettingsError((f"{variable(name)} is not set. Set it.",))
    return value


_SECRETS = {
    *(variable(name) for name in ("secret_key", "admin_key")),
    *(variable(name) for name in ("openai_api_key", "gemini_api_key", "stability_api_key")),
    *(variable(name) for name in ("supabase_key", "oidc_client_secret")),
}


def _unknown_variables(names: Mapping[str, str]) -> Iterator[str]:
    variables = [*map(variable, Settings.model_fields), *FOR_THE_COMMAND_LINE]
    known = {name.removeprefix(PREFIX): name for name in variables}
    for name in sorted(names):
        if name.startswith(PREFIX) and name not in variables:
            near = difflib.get_close_matches(name.removeprefix(PREFIX), known, n=1, cutoff=0.5)
            remedy = f"did you mean {known[near[0]]}?" if near else "`darkroom config` lists all."
            yield f"{name} is no setting: {remedy}"


def _mistakes(error: ValidationError) -> Iterator[str]:
    for detail in error.errors(include_url=False):
        if detail["type"] != "default_factory_not_called":  # follows from another mistake
            yield f"{variable(str(detail['loc'][0]))} {_explanation(detail)}."


def _explanation(detail: ErrorDetails) -> str:
    sentence = _SENTENCES.get(detail["type"])
    if sentence is None:
        return f"is not right: {detail['msg']}"
    return sentence.format(input=detail["input"], **detail.get("ctx", {}))


def _written(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value)
