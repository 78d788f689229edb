"""The one composition root: from settings to everything that processes and routes work with."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from ipaddress import ip_network
from typing import TYPE_CHECKING, TypeVar

from dependency_injector import containers, providers

from application.access import Access
from application.accounts import Accounts
from application.announcing import Announcer
from application.api_keys import ApiKeys
from application.deletion import Deletions
from application.delivering import Deliverer
from application.delivery_turns import MOST_UNDER_WAY, DeliveryTurns
from application.dispatch import Dispatcher
from application.earlier_pictures import EarlierPictures
from application.following import Following
from application.generations import Generations
from application.guarding import GuardedAccess
from application.last_uses import LastUses
from application.leases import LeaseSweep
from application.login_links import LoginLinks
from application.logins import Logins
from application.missing_work import MissingWorkSweep
from application.orphans import OrphanSweep
from application.outlived import OutlivedSweep
from application.overdue import OverdueSweep
from application.people import People
from application.perform import Performer
from application.pictures import Pictures
from application.ports.event_store import MostInFlight
from application.ports.identity import GOOGLE, IdentityProvider
from application.ports.images import ImageStore
from application.preparing import Preparing
from application.providers import ProviderChanges
from application.queue_places import QueuePlaces
from application.references import References
from application.routing import Router
from application.sweeping import Sweep
from application.switches import Switches
from application.turns import Turns
from application.waiting import Waiting
from application.webhooks import WebhookChanges
from domain.quota import WindowType
from infrastructure.event_store.announcing import Announcing
from infrastructure.event_store.dispatching import Dispatching
from infrastructure.event_store.ended_generations import PostgresEndedGenerations
from infrastructure.event_store.log import PostgresLog
from infrastructure.event_store.named_references import PostgresNamedReferences
from infrastructure.event_store.news import PostgresNews
from infrastructure.event_store.quota import PostgresQuota
from infrastructure.event_store.spool import PostgresSpool
from infrastructure.event_store.store import PostgresEventStore
from infrastructure.event_store.uses import PostgresUses
from infrastructure.event_store.work import PostgresWorkBoard
from infrastructure.gatekeeping.making import gatekeeper
from infrastructure.image_editing import PillowEditor
from infrastructure.image_stores.filesystem import FilesystemImageStore
from infrastructure.images import MAX_REFERENCE_PIXELS, PillowInspector, decode_reference
from infrastructure.providers.making import close_all, make_all_ready, providers_of
from infrastructure.rate_limiting.making import limits_of, redis_counters
from infrastructure.read_models.api_keys import api_keys_page
from infrastructure.read_models.image_generations import history_page
from infrastructure.read_models.users import users_page
from infrastructure.read_models.webhook_deliveries import (
    PostgresDeliveryBoard,
    deliveries_of_generation,
    deliveries_page,
)
from infrastructure.readiness import Readiness
from infrastructure.settings import Settings, SettingsError, needed
from infrastructure.webhooks.secrets import DerivedSecrets

if TYPE_CHECKING:
    from pydantic import SecretStr

    from application.ports.webhooks import WebhookSender
    from infrastructure.queue import ArqQueue, ArqWorker, Perform
    from infrastructure.sealing import Seal


T = TypeVar("T")


def _database_url(settings: Settings) -> str:
    if settings.database_url is None:
        raise _no_server("DATABASE_URL")
    return settings.database_url


def _redis_url(settings: Settings) -> str:
    if settings.redis_url is None:
        raise _no_server("REDIS_URL")
    return settings.redis_url


def _no_server(variable: str) -> SettingsError:
    return SettingsError(
        (f"{variable} is not set. Set it, or let `darkroom up` start the embedded servers.",)
    )


def _limits(settings: Settings) -> Mapping[WindowType, int | None]:
    return {
        "daily": settings.daily_quota,
        "monthly": settings.monthly_quota,
        "end-user-daily": settings.end_user_daily_quota,
        "end-user-monthly": settings.end_user_monthly_quota,
    }


def _secret(key: SecretStr | None) -> str | None:
    return key.get_secret_value() if key else None


def _most_in_flight(settings: Settings) -> MostInFlight:
    return MostInFlight(settings.most_in_flight_per_user, settings.most_in_flight)


def _admin_key(settings: Settings) -> str:
    return needed("admin_key", settings.admin_key).get_secret_value()


def _login_links(settings: Settings) -> LoginLinks:
    return LoginLinks(_admin_key(settings))


def _login_seal(settings: Settings) -> Seal:
    from infrastructure.sealing import Seal

    return Seal(_secret(settings.secret_key) or _admin_key(settings), "login attempts")


def _identity_provider(settings: Settings, now: Callable[[], datetime]) -> IdentityProvider | None:
    if settings.oidc_client_id is None:
        return None
    from infrastructure.openid import OpenIdProvider

    is_one = settings.oidc_issuer == GOOGLE and len(settings.login_domains) == 1
    return OpenIdProvider(
        issuer=settings.oidc_issuer,
        client_id=settings.oidc_client_id,
        client_secret=_secret(settings.oidc_client_secret),
        redirect_uri=f"{settings.public_url}/auth/callback",
        now=now,
        hosted_domain=settings.login_domains[0] if is_one else None,
    )


async def _close_one(provider: IdentityProvider | None) -> None:
    if provider is not None:
        await provider.close()


def _queue(redis_url: str) -> ArqQueue:
    from infrastructure.queue import ArqQueue  # arq is slow to import

    return ArqQueue(redis_url)


def _arq_worker(
    redis_url: str, slots: int, perform: Mapping[str, Perform], may_take: Callable[[], bool]
) -> ArqWorker:
    from infrastructure.queue import ArqWorker

    return ArqWorker(redis_url, perform, slots=slots, may_take=may_take)


def _arq_deliverer(redis_url: str, deliver: Perform, may_take: Callable[[], bool]) -> ArqWorker:
    from infrastructure.queue import DELIVER, DELIVERIES, ArqWorker

    return ArqWorker(
        redis_url, {DELIVER: deliver}, slots=MOST_UNDER_WAY, line=DELIVERIES, may_take=may_take
    )


def _sender(settings: Settings) -> WebhookSender:
    from infrastructure.webhooks.sender import HttpSender

    return HttpSender([ip_network(network) for network in settings.webhook_networks])


def _secrets(settings: Settings) -> DerivedSecrets:
    key = settings.secret_key
    return DerivedSecrets(
        key.get_secret_value() if key else None, plain_http=bool(settings.webhook_networks)
    )


def _image_store(settings: Settings) -> ImageStore:
    if settings.image_store == "filesystem":
        return FilesystemImageStore(settings.data_dir / "objects", settings.public_url)
    from infrastructure.image_stores.supabase import SupabaseImageStore

    return SupabaseImageStore(
        url=needed("supabase_url", settings.supabase_url),
        key=needed("supabase_key", settings.supabase_key).get_secret_value(),
        bucket=settings.supabase_bucket,
    )


def _files(image_store: ImageStore) -> FilesystemImageStore | None:
    return image_store if isinstance(image_store, FilesystemImageStore) else None


def _sweeps(
    store: PostgresEventStore,
    board: PostgresWorkBoard,
    overdue: OverdueSweep,
    orphans: OrphanSweep,
    settings: Settings,
) -> tuple[Sweep, ...]:
    return (
        LeaseSweep(board, lease=_seconds(settings.lease_seconds)).sweep(),
        MissingWorkSweep(store, board, deadline=_seconds(settings.deadline_seconds)).sweep(),
        OutlivedSweep(board).sweep(),
        overdue.sweep(),
        *orphans.sweeps(),
    )


def _seconds(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


NOTE_USES_EVERY = 15.0  # seconds
WORKER_NEWS = "darkroom news of a worker"
WORKERS_BREATH = 0.25  # seconds between looks: it waits for what is rare


class Container(containers.DeclarativeContainer):
    """Everything is made once, when it is first asked for; opening and closing is a process's own.

    `Container(settings=settings)`, then `container.store()`.
    """

    settings = providers.Dependency(instance_of=Settings)
    database_url = providers.Callable(_database_url, settings)
    redis_url = providers.Callable(_redis_url, settings)
    limits = providers.Callable(_limits, settings)
    deadline = providers.Callable(_seconds, settings.provided.deadline_seconds)
    lease = providers.Callable(_seconds, settings.provided.lease_seconds)

    store = providers.Singleton(PostgresEventStore, database_url)
    fetch = store.provided.fetch
    board = providers.Singleton(PostgresWorkBoard, store)
    spool = providers.Singleton(PostgresSpool, store, most_bytes=settings.provided.spool_bytes)
    news = providers.Singleton(PostgresNews, database_url)
    worker_news = providers.Singleton(
        PostgresNews, database_url, name=WORKER_NEWS, breath=WORKERS_BREATH
    )
    waiting = providers.Singleton(Waiting, store, news)
    image_store = providers.Singleton(_image_store, settings)
    files = providers.Callable(_files, image_store)  # None where objects are no files
    places = providers.Singleton(QueuePlaces, board, store.provided.now)
    following = providers.Singleton(Following, store, news, places)
    queue = providers.Singleton(_queue, redis_url)
    arq_worker = providers.Factory(_arq_worker, redis_url, settings.provided.worker_slots)
    log = providers.Singleton(PostgresLog, fetch)
    quota = providers.Singleton(PostgresQuota, fetch, limits)
    history_page = providers.Callable(history_page, fetch)
    readiness = providers.Singleton(Readiness, fetch, queue.provider, image_store.provider)

    inspector = providers.Singleton(PillowInspector)
    switches = providers.Singleton(Switches, store)
    gate = providers.Singleton(gatekeeper, redis_url, settings, switches, store.provided.now)
    editor = providers.Singleton(PillowEditor)
    configured_providers = providers.Singleton(providers_of, settings)
    make_providers_ready = providers.Callable(make_all_ready, configured_providers)
    close_providers = providers.Callable(close_all, configured_providers)
    router = providers.Singleton(Router, configured_providers, gate)

    delivery_board = providers.Singleton(PostgresDeliveryBoard, fetch)
    webhook_secrets = providers.Singleton(_secrets, settings)
    webhook_sender = providers.Singleton(_sender, settings)
    webhook_changes = providers.Singleton(WebhookChanges, store, webhook_secrets)
    deliveries_page = providers.Callable(deliveries_page, fetch)
    deliveries_of_generation = providers.Callable(deliveries_of_generation, fetch)
    deliverer = providers.Factory(
        Deliverer,
        store=store,
        board=delivery_board,
        queue=queue,
        sender=webhook_sender,
        secrets=webhook_secrets,
        retries=settings.provided.webhook_retries,
        jitter=providers.Object(random.random),
    )
    arq_deliverer = providers.Factory(_arq_deliverer, redis_url)
    announcing = providers.Singleton(
        Announcing,
        database_url,
        announcer=providers.Singleton(
            Announcer,
            store,
            providers.Singleton(PostgresEndedGenerations, fetch, store.provided.mapper),
        ),
        turns=providers.Singleton(DeliveryTurns, delivery_board, queue),
    )

    accounts = providers.Singleton(Accounts, store)
    last_uses = providers.Singleton(
        LastUses, providers.Singleton(PostgresUses, store), every=NOTE_USES_EVERY
    )
    access = providers.Singleton(
        Access,
        store,
        last_uses,
        admin_key=providers.Callable(_secret, settings.provided.admin_key),
        idle=providers.Callable(_seconds, settings.provided.session_idle_seconds),
    )
    counters = providers.Singleton(redis_counters, redis_url)
    rate_limits = providers.Singleton(limits_of, counters, settings)
    guarded_access = providers.Singleton(GuardedAccess, access, rate_limits)
    people = providers.Singleton(People, store, access.provided.user)
    login_links = providers.Singleton(_login_links, settings)
    logins = providers.Singleton(
        Logins,
        store,
        last_uses,
        load=access.provided.user,
        links=login_links,
        lasts=providers.Callable(_seconds, settings.provided.session_seconds),
        idle=providers.Callable(_seconds, settings.provided.session_idle_seconds),
        domains=settings.provided.login_domains,
    )
    login_seal = providers.Singleton(_login_seal, settings)
    identity_provider = providers.Singleton(  # None where none is configured
        _identity_provider, settings, store.provided.now
    )
    close_identity_provider = providers.Callable(_close_one, identity_provider)
    provider_changes = providers.Singleton(
        ProviderChanges, store, switches, configured=settings.provided.providers
    )
    references = providers.Singleton(
        References,
        images=image_store,
        inspector=providers.Singleton(PillowInspector, max_pixels=MAX_REFERENCE_PIXELS),
        editor=editor,
        earlier=providers.Singleton(EarlierPictures, store),
        decode=providers.Object(decode_reference),
    )
    pictures = providers.Singleton(Pictures, image_store, spool, inspector, editor)
    deletions = providers.Singleton(Deletions, store=store, pictures=pictures)
    generations = providers.Singleton(
        Generations,
        store=store,
        router=router,
        references=references,
        deletions=deletions,
        limits=limits,
        most_in_flight=providers.Callable(_most_in_flight, settings),
        turns=providers.Singleton(Turns),
        deadline=deadline,
        preferences=access.provided.preferences,
    )
    api_keys = providers.Singleton(ApiKeys, store, access.provided.user)
    api_keys_page = providers.Callable(api_keys_page, fetch)
    users_page = providers.Callable(users_page, fetch)
    performers = providers.Factory(
        Performer,
        store=store,
        gate=gate,
        pictures=pictures,
        preparing=providers.Singleton(Preparing, editor),
        call_timeout=providers.Callable(_seconds, settings.provided.call_seconds),
        lease=lease,
        jitter=providers.Object(random.random),
    )
    performer = providers.Singleton(performers, router=router)
    finisher = providers.Singleton(performers, router=providers.Singleton(Router, {}, gate))
    sweeps = providers.Singleton(
        _sweeps,
        store,
        board,
        overdue=providers.Singleton(OverdueSweep, board, finisher),
        orphans=providers.Singleton(
            OrphanSweep,
            store,
            image_store,
            providers.Singleton(PostgresNamedReferences, fetch),
            log,
        ),
        settings=settings,
    )
    dispatching = providers.Singleton(
        Dispatching,
        database_url,
        dispatcher=providers.Singleton(Dispatcher, board, queue),
        sweeps=sweeps,
    )
