"""Settings: what is read, and one sentence for every mistake."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from limits import parse
from pydantic import SecretStr, ValidationError

from application.rate import Rate
from infrastructure.gatekeeping.rules import CircuitRules
from infrastructure.settings import (
    Settings,
    SettingsError,
    SketchFaults,
    load_database_url,
    load_settings,
)

POSTGRES = "postgresql://darkroom:hidden-word@db.example.com:5432/darkroom"
REDIS = "redis://:hidden-word@cache.example.com:6379/0"
KEY = "dk_admin_hidden-word"


def mistakes_in(**environ: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load_settings(environ)
    return caught.value.mistakes


def test_one_user_may_not_have_more_in_flight_than_all_together() -> None:
    fits = {"DARKROOM_MOST_IN_FLIGHT": "5", "DARKROOM_MOST_IN_FLIGHT_PER_USER": "5"}
    assert load_settings(fits).most_in_flight_per_user == 5
    with pytest.raises(SettingsError) as refused:
        load_settings({"DARKROOM_MOST_IN_FLIGHT": "500"})
    assert refused.value.mistakes == (
        "DARKROOM_MOST_IN_FLIGHT_PER_USER is 1000, more than all users may have together: lower it,"
        " or raise DARKROOM_MOST_IN_FLIGHT (500).",
    )


def test_nothing_needs_to_be_set() -> None:
    settings = load_settings({})
    assert settings.database_url is None
    assert settings.redis_url is None
    assert settings.data_dir == Path.cwd() / ".darkroom"
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert settings.public_url == "http://127.0.0.1:8000"
    assert settings.admin_key is None
    assert settings.providers == ("sketch",)
    assert settings.image_store == "filesystem"
    assert (settings.daily_quota, settings.monthly_quota) == (500, 10_000)
    assert settings.wait_seconds == 55
    assert settings.sketch_faults == SketchFaults(refuse=0, fail=0, hang=0)
    assert settings.sketch_images_per_call == 1
    assert (settings.lease_seconds, settings.call_seconds, settings.deadline_seconds) == (
        15,
        180,
        900,
    )
    assert (settings.worker_slots, settings.log_format) == (8, "auto")


def test_every_setting_is_read_from_its_variable(tmp_path: Path) -> None:
    settings = load_settings(
        {
            "DATABASE_URL": POSTGRES,
            "REDIS_URL": REDIS,
            "DARKROOM_DATA_DIR": str(tmp_path / "not there yet"),
            "DARKROOM_HOST": "0.0.0.0",
            "DARKROOM_PORT": "8080",
            "DARKROOM_PUBLIC_URL": "https://pictures.example.com/",
            "DARKROOM_ADMIN_KEY": KEY,
            "DARKROOM_DAILY_QUOTA": "0",
            "DARKROOM_MONTHLY_QUOTA": "unlimited",
            "DARKROOM_SKETCH_SECONDS": "0.25",
            "DARKROOM_SKETCH_FAULTS": "refuse=0.1, fail=0.2,hang=0.05",
            "DARKROOM_LOG_FORMAT": "json",
        }
    )
    assert settings.database_url == POSTGRES
    assert settings.redis_url == REDIS
    assert settings.data_dir == tmp_path / "not there yet"
    assert not settings.data_dir.exists()
    assert settings.public_url == "https://pictures.example.com"
    assert settings.admin_key == SecretStr(KEY)
    assert settings.daily_quota == 0
    assert settings.monthly_quota is None
    assert settings.sketch_seconds == 0.25
    assert settings.sketch_faults == SketchFaults(refuse=0.1, fail=0.2, hang=0.05)
    assert settings.log_format == "json"


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_PORT", "8123")
    assert load_settings().port == 8123
    assert load_settings({}).port == 8000


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_settings({}).port = 1


def test_an_empty_variable_counts_as_unset() -> None:
    empty = {"DATABASE_URL": "", "REDIS_URL": " ", "DARKROOM_PORT": "", "DARKROOM_WHATEVER": ""}
    assert load_settings(empty) == load_settings({})


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::", "http://127.0.0.1:8000"),
        ("::1", "http://[::1]:8000"),
        ("darkroom.local", "http://darkroom.local:8000"),
    ],
)
def test_the_public_address_follows_from_host_and_port(host: str, address: str) -> None:
    assert load_settings({"DARKROOM_HOST": host}).public_url == address


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("PORT", "eighty", "must be a whole number, not 'eighty'."),
        ("PORT", "0", "must be at least 1, not 0."),
        ("PORT", "65536", "must be at most 65535, not 65536."),
        ("HOST", "http://here:1", "must be a host name or an address such as 127.0.0.1,"),
        ("PUBLIC_URL", "pictures.example.com", "must be an address such as https://"),
        ("PUBLIC_URL", "http://[::1", "must be an address such as https://"),
        ("PUBLIC_URL", "http://a.example?b=c", "must be an address such as https://"),
        ("ADMIN_KEY", "short", "must have at least 16 letters"),
        ("SECRET_KEY", "with a space in its middle", "without spaces"),
        ("PROVIDERS", "sketch,openai", "names openai, and OPENAI_API_KEY is not set: set it."),
        ("PROVIDERS", "skech", "names 'skech', which is no provider: there are openai, gemini,"),
        ("PROVIDERS", ",", "names no provider: there are openai, gemini, stability, sketch."),
        ("IMAGE_STORE", "supabase", "SUPABASE_URL and SUPABASE_KEY are not set: set them."),
        ("IMAGE_STORE", "floppy", "must be 'filesystem' or 'supabase', not 'floppy'."),
        ("DAILY_QUOTA", "-1", "must be a number of images, 0 or more, or unlimited, not '-1'."),
        ("MONTHLY_QUOTA", "many", "must be a number of images"),
        ("WEBHOOK_NETWORKS", "10.0.0.1/8", "must be networks such as 10.0.0.0/8,fd00::/8, not"),
        ("WEBHOOK_NETWORKS", "inside", "must be networks such as"),
        ("WEBHOOK_RETRIES", "5,300", "the first of them 0, such as 0,5,300, not '5,300'."),
        ("WEBHOOK_RETRIES", "0,soon", "must be pauses in seconds before each try"),
        ("WEBHOOK_RETRIES", ",".join("0" * 51), "there are at most 50"),
        ("WAIT_SECONDS", "601", "must be at most 600, not 601."),
        ("WAIT_SECONDS", "nan", "must be a number, not 'nan'."),
        ("SKETCH_SECONDS", "soon", "must be a number, not 'soon'."),
        ("SKETCH_FAULTS", "explode=0.1", "must look like refuse=0.1,fail=0.2,hang=0.05"),
        ("SKETCH_FAULTS", "fail=often", "must look like"),
        ("SKETCH_FAULTS", "fail=0.1,fail=0.1", "must look like"),
        ("SKETCH_FAULTS", "refuse=2", "must be from 0 to 1 each and at most 1 together"),
        ("SKETCH_FAULTS", "hang=nan", "must be from 0 to 1 each"),
        ("SKETCH_FAULTS", "refuse=0.6,fail=0.5", "not refuse=0.6,fail=0.5,hang=0.0."),
        ("SKETCH_IMAGES_PER_CALL", "11", "must be at most 10, not 11."),
        ("LEASE_SECONDS", "0", "must be more than 0, not 0."),
        ("DEADLINE_SECONDS", "100", "is 100, less than one call may take"),
        ("CIRCUIT", "failures=many", "must look like failures=5,window=60,open=30,cool_down=60,"),
        ("CIRCUIT", "patience=5", "must look like failures=5,"),
        ("CIRCUIT", "open=1,open=2", "must look like failures=5,"),
        ("CIRCUIT", "failures=0", "must have failures from 1 to 100 and seconds of more than 0"),
        ("CIRCUIT", "open=0", "must have failures from 1 to 100 and seconds of more than 0"),
        ("CIRCUIT", "failures=1.5", "must have a whole number of failures, not 1.5."),
        ("PROVIDER_RATES", "openai=fast", "must look like openai=50/minute,stability=150/10 sec"),
        ("PROVIDER_RATES", "openai=0/minute", "must look like openai=50/minute"),
        ("PROVIDER_RATES", "dalle=1/minute", "names 'dalle', which is no provider: there are"),
        ("PROVIDER_RATES", "openai=1/day,openai=2/day", "names openai twice."),
        ("PROVIDER_CONCURRENCY", "openai=0", "must look like openai=8,gemini=4, at least 1 each"),
        ("PROVIDER_CONCURRENCY", "openai", "must look like openai=8,gemini=4"),
        ("KEY_RATE", "fast", "must look like 20/second,600/minute, or be none, not 'fast'."),
        ("USER_RATE", "0/second", "must look like 20/second"),
        ("LOGIN_RATE", "5/2 days", "must be for a day at most, and 5/2 days is not."),
        ("GUESS_RATE", "5/minute,9/60 seconds", "has two rates for the same time"),
        ("CORS_ORIGINS", "*", "must be origins such as https://app.example.com, in lower case"),
        ("CORS_ORIGINS", "https://a.example/", "not 'https://a.example/'."),
        ("CORS_ORIGINS", "https://A.example", "not 'https://A.example'."),
        ("CORS_ORIGINS", "https://a.example:443", "must be origins"),
        ("CORS_ORIGINS", "https://*.example", "must be origins"),
        ("CORS_ORIGINS", "https://u:p@a.example", "must be origins"),
        ("CORS_ORIGINS", "http://a.example", "http only for this machine"),
        ("CORS_ORIGINS", "null", "must be origins"),
        ("LOGIN_DOMAINS", "example", "must be domains such as example.com,example.org, not 'exa"),
        ("LOGIN_DOMAINS", "ada@example.org", "must be domains such as"),
        ("TRUSTED_PROXIES", "proxy", "must be addresses or networks such as 10.0.0.5,10.1.0.0/16"),
        ("TRUSTED_PROXIES", "*", "must be addresses or networks such as"),
        ("TRUSTED_PROXIES", "10.0.0.1/8", "must be addresses or networks such as"),
        ("WORKER_SLOTS", "0", "must be at least 1, not 0."),
        ("LOG_FORMAT", "xml", "must be 'auto', 'json' or 'console', not 'xml'."),
    ],
)
def test_a_wrong_value_is_told_in_one_sentence(name: str, value: str, sentence: str) -> None:
    (mistake,) = mistakes_in(**{f"DARKROOM_{name}": value})
    assert mistake.startswith(f"DARKROOM_{name} ")
    assert sentence in mistake


@pytest.mark.parametrize(
    ("database_url", "redis_url", "sentence"),
    [
        ("postgres://db", REDIS, "DATABASE_URL must start with postgresql://"),
        ("postgresql://u:hidden-word@db:many/x", REDIS, "DATABASE_URL cannot be read"),
        ("postgresql://u:hidden%word@db/x", REDIS, "DATABASE_URL cannot be read"),
        (POSTGRES, "http://cache", "REDIS_URL must start with redis:// or rediss://"),
        (POSTGRES, "redis://:hidden-word@", "REDIS_URL cannot be read as an address"),
        (POSTGRES, "redis://:hidden-word@cache/abc", "REDIS_URL cannot be read as an address"),
        (POSTGRES, f"{REDIS}?socket_timeout=abc", "REDIS_URL has options that the Redis client"),
        (POSTGRES, f"{REDIS}?db=1&nosuch=hidden", "REDIS_URL has options that the Redis client"),
        (POSTGRES, "", "REDIS_URL is not set, and DATABASE_URL is: set both"),
        ("", REDIS, "REDIS_URL is set, and DATABASE_URL is not: set both"),
    ],
)
def test_servers_are_named_rightly_and_in_pairs(
    database_url: str, redis_url: str, sentence: str
) -> None:
    (mistake,) = mistakes_in(DATABASE_URL=database_url, REDIS_URL=redis_url)
    assert mistake.startswith(sentence)
    assert "hidden" not in mistake


ISSUER = {"OIDC_ISSUER": "https://id.example.com/tenant/"}
CLIENT = {"OIDC_CLIENT_ID": "darkroom", "OIDC_CLIENT_SECRET": "hidden-word"}


def test_a_login_provider_is_called_as_it_calls_itself() -> None:
    settings = load_settings(ISSUER | CLIENT)
    assert settings.oidc_issuer == "https://id.example.com/tenant/"
    assert load_settings({}).oidc_issuer == "https://accounts.google.com"
    assert load_settings(settings.environ()) == settings


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"OIDC_ISSUER": "id.example.com"}, "OIDC_ISSUER must be an address such as https://"),
        ({"OIDC_ISSUER": "http://id.example.com"}, "OIDC_ISSUER must begin with https://: who"),
        ({"OIDC_CLIENT_ID": "dark room", **ISSUER}, "OIDC_CLIENT_ID must be one word of"),
        ({"OIDC_CLIENT_ID": "darkroom"}, "OIDC_CLIENT_SECRET is not set, and Google asks for it"),
        ({"OIDC_CLIENT_SECRET": "hidden-word"}, "OIDC_CLIENT_SECRET is set, and OIDC_CLIENT_ID is"),
        ({**CLIENT, "OIDC_CLIENT_SECRET": "hidden word"}, "OIDC_CLIENT_SECRET is no key: it holds"),
    ],
)
def test_a_login_provider_is_configured_whole(given: dict[str, str], sentence: str) -> None:
    (mistake,) = mistakes_in(**given)
    assert mistake.startswith(sentence)
    assert "hidden" not in mistake


def test_a_login_provider_on_this_machine_may_be_plain_and_know_no_secret() -> None:
    given = {"OIDC_ISSUER": "http://127.0.0.1:4711", "OIDC_CLIENT_ID": "darkroom"}
    assert load_settings(given).oidc_client_secret is None


def test_lists_are_read_as_they_are_meant() -> None:
    settings = load_settings(
        {
            "DARKROOM_LOGIN_DOMAINS": "@Example.org, example.com,example.org",
            "DARKROOM_TRUSTED_PROXIES": "10.0.0.5, 2001:DB8::/32",
        }
    )
    assert settings.login_domains == ("example.org", "example.com")
    assert settings.trusted_proxies == ("10.0.0.5", "2001:db8::/32")
    assert load_settings(settings.environ()) == settings
    assert load_settings({}).shown()["DARKROOM_TRUSTED_PROXIES"] == "not set"


@pytest.mark.parametrize("missing", ["SUPABASE_URL", "SUPABASE_KEY"])
def test_the_store_at_supabase_needs_an_address_and_a_key(missing: str) -> None:
    given = {"SUPABASE_URL": "https://x.supabase.co", "SUPABASE_KEY": "hidden-word"}
    given = given | {"DARKROOM_IMAGE_STORE": "supabase"}
    assert load_settings(given).supabase_bucket == "darkroom"
    (mistake,) = mistakes_in(**{**given, missing: ""})
    assert mistake == f"DARKROOM_IMAGE_STORE is supabase, and {missing} is not set: set it."


def test_options_that_the_redis_client_takes_are_taken() -> None:
    url = f"{REDIS}?socket_timeout=3&health_check_interval=30"
    assert load_settings({"DATABASE_URL": POSTGRES, "REDIS_URL": url}).redis_url == url


def test_the_address_of_the_database_can_be_read_alone() -> None:
    assert load_database_url({"DATABASE_URL": POSTGRES, "DARKROOM_PORT": "x"}) == POSTGRES
    with pytest.raises(SettingsError, match="DATABASE_URL is not set: set it"):
        load_database_url({})
    with pytest.raises(SettingsError, match="DATABASE_URL must start with postgresql://"):
        load_database_url({"DATABASE_URL": "db"})


def test_all_mistakes_are_told_together() -> None:
    mistakes = mistakes_in(DARKROOM_PORT="x", DARKROOM_WAIT_SECONDS="-1", DARKROOM_PROT="1")
    assert [mistake.split()[0] for mistake in mistakes] == [
        "DARKROOM_PORT",
        "DARKROOM_WAIT_SECONDS",
        "DARKROOM_PROT",
    ]


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("DARKROOM_PROT", "did you mean DARKROOM_PORT?"),
        ("DARKROOM_DALY_QUOTA", "did you mean DARKROOM_DAILY_QUOTA?"),
        ("DARKROOM_DATABASE_URL", "did you mean DATABASE_URL?"),
        ("DARKROOM_XYZZY", "`darkroom config` lists all."),
    ],
)
def test_an_unknown_variable_is_a_mistake(name: str, remedy: str) -> None:
    assert mistakes_in(**{name: "1"}) == (f"{name} is no setting: {remedy}",)


def test_what_the_command_line_reads_for_itself_is_known() -> None:
    load_settings({"DARKROOM_URL": "http://127.0.0.1:8000", "DARKROOM_API_KEY": "dk_one"})


def test_a_data_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    (mistake,) = mistakes_in(DARKROOM_DATA_DIR=str(tmp_path / "file" / "data"))
    assert mistake.endswith(f"{tmp_path / 'file'} is a file: choose another folder.")


def test_a_data_folder_that_cannot_be_created_is_refused() -> None:
    (mistake,) = mistakes_in(DARKROOM_DATA_DIR="/proc/sys/darkroom")
    assert "cannot be created, for /proc/sys is not yours" in mistake


@pytest.mark.parametrize(
    ("folder", "sentence"),
    [
        ("~nosuchuser/x", "begins with ~nosuchuser, whose home is not known: write the whole path"),
        ("x" * 300, "cannot be used (File name too long): choose another folder"),
    ],
)
def test_a_data_folder_that_cannot_be_is_refused(folder: str, sentence: str) -> None:
    assert mistakes_in(DARKROOM_DATA_DIR=folder) == (f"DARKROOM_DATA_DIR {sentence}.",)


def test_a_data_folder_in_a_folder_that_was_removed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    (mistake,) = mistakes_in()
    assert mistake.startswith("DARKROOM_DATA_DIR begins in a folder that was removed")


def test_every_setting_is_shown() -> None:
    shown = load_settings({"DARKROOM_ADMIN_KEY": KEY}).shown()
    assert len(shown) == len(Settings.model_fields)
    assert (shown["DARKROOM_ADMIN_KEY"], shown["DARKROOM_SECRET_KEY"]) == ("********", "not set")


@pytest.mark.parametrize("show", [repr, str, lambda settings: str(settings.shown())])
def test_secrets_are_never_shown(show: Callable[[Settings], str]) -> None:
    secrets = {"DARKROOM_ADMIN_KEY": KEY, "DARKROOM_SECRET_KEY": KEY}
    settings = load_settings({"DATABASE_URL": POSTGRES, "REDIS_URL": REDIS, **secrets})
    assert "hidden" not in show(settings)


def test_a_mistaken_secret_is_not_shown() -> None:
    (mistake,) = mistakes_in(DARKROOM_ADMIN_KEY="hidden")
    assert "hidden" not in mistake


def test_a_child_process_reads_the_same_settings(tmp_path: Path) -> None:
    settings = load_settings(
        {
            "DATABASE_URL": POSTGRES,
            "REDIS_URL": REDIS,
            "DARKROOM_DATA_DIR": str(tmp_path),
            "DARKROOM_ADMIN_KEY": KEY,
            "DARKROOM_DAILY_QUOTA": "unlimited",
            "DARKROOM_SKETCH_FAULTS": "hang=0.5",
            "DARKROOM_CIRCUIT": "failures=3, open=0.5",
            "DARKROOM_PROVIDER_RATES": "openai=50/Minute,stability=150/10 seconds",
            "DARKROOM_PROVIDER_CONCURRENCY": "gemini=4",
            "DARKROOM_WEBHOOK_NETWORKS": "10.0.0.0/8, fd00::/8",
            "DARKROOM_WEBHOOK_RETRIES": "0, 0.5, 300",
        }
    )
    assert load_settings(settings.environ()) == settings


def test_the_providers_are_those_with_a_key_else_the_built_in_one() -> None:
    assert load_settings({}).providers == ("sketch",)
    keys = {"GEMINI_API_KEY": "a-key", "OPENAI_API_KEY": "another-key"}
    assert load_settings(keys).providers == ("openai", "gemini")
    chosen = keys | {"DARKROOM_PROVIDERS": "gemini,sketch"}
    assert load_settings(chosen).providers == ("gemini", "sketch")


def test_keys_of_providers_are_never_shown() -> None:
    names = ("OPENAI_API_KEY", "GEMINI_API_KEY", "STABILITY_API_KEY", "SUPABASE_KEY")
    shown = load_settings(dict.fromkeys(names, "sk-secret")).shown()
    assert {shown[name] for name in names} == {"********"}
    (mistake,) = mistakes_in(OPENAI_API_KEY="sk secret")
    assert mistake == "OPENAI_API_KEY is no key: it holds a space or what is no ASCII character."


def test_circuits_and_limits_of_providers_are_read() -> None:
    nothing = load_settings({})
    assert nothing.circuit == CircuitRules()
    assert (nothing.provider_rates.by_provider, nothing.provider_concurrency.by_provider) == (
        {},
        {},
    )
    settings = load_settings(
        {
            "DARKROOM_CIRCUIT": "failures=3, open=0.5",
            "DARKROOM_PROVIDER_RATES": "openai=50/Minute, stability=150/10 seconds",
            "DARKROOM_PROVIDER_CONCURRENCY": "gemini=4",
        }
    )
    assert settings.circuit == CircuitRules(failures=3, open=0.5)
    rates = settings.provider_rates.by_provider
    assert {name: parse(rate).get_expiry() for name, rate in rates.items()} == {
        "openai": 60,
        "stability": 10,
    }
    assert {name: parse(rate).amount for name, rate in rates.items()} == {
        "openai": 50,
        "stability": 150,
    }
    assert settings.provider_concurrency.by_provider == {"gemini": 4}


def test_rates_of_callers_are_read_and_can_be_switched_off() -> None:
    nothing = load_settings({})
    assert f"{nothing.key_rate} {nothing.guess_rate}" == (
        "500/second,10000/minute 30/minute,300/hour"
    )
    settings = load_settings(
        {"DARKROOM_KEY_RATE": "600/Minute, 20/second", "DARKROOM_USER_RATE": "None"}
    )
    assert settings.key_rate.rates == (Rate(20, 1), Rate(600, 60))
    assert settings.user_rate.rates == ()
    assert load_settings(settings.environ()) == settings


def test_origins_of_other_sites_are_read() -> None:
    assert load_settings({}).cors_origins == ()
    origins = "https://app.example.com, https://b.example:8443,http://localhost:3000"
    assert load_settings({"DARKROOM_CORS_ORIGINS": origins}).cors_origins == (
        "https://app.example.com",
        "https://b.example:8443",
        "http://localhost:3000",
    )
