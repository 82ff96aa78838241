"""Standings in Redis: never older than a second, and never needed. And what happens when the database is gone."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
import redis
from django.db import OperationalError, connection

from accounts.models import Subscription
from billing_site.kernel import clock
from metering.queries import standing_cache
from metering.queries.standing_cache import remember_standing
from metering.rating.entitlements import HardLimit, Standing
from tests.factories.quotas import publish_limits
from tests.support import world
from tests.support.api import make_client
from tests.support.problems import problem

NOW = world.NOVEMBER + timedelta(days=10, hours=5, minutes=30)
DOOR = "/api/internal/billing/entitlement-check"
URL = os.environ.get("BILLING_TEST_REDIS_URL", "redis://127.0.0.1:6379/0")
STANDING = Standing(
    "small", True, (HardLimit("q", "s", "tokens", "day", Decimal("1.5"), Decimal("0.1"), Decimal(0), NOW),)
)


@pytest.fixture(autouse=True)
def _fresh(settings: Any) -> Iterator[None]:
    """Each test has keys of its own, and no memory of a Redis that failed."""
    settings.REDIS_PREFIX = f"test-{uuid.uuid4().hex}:"
    standing_cache._Silence.until = 0
    connect = standing_cache._connect
    yield
    standing_cache._Silence.until = 0
    connect.cache_clear()


@pytest.fixture
def server(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(URL, socket_connect_timeout=1, socket_timeout=1)
    try:
        client.ping()
    except redis.RedisError:
        pytest.skip("no Redis answers here")
    settings.REDIS_URL, settings.BILLING_ENTITLEMENT_CACHE = URL, "redis"
    # Long enough for a busy machine, also to answer; what a site has is looked at below.
    monkeypatch.setattr(standing_cache, "_LIFETIME_MS", 60_000)
    monkeypatch.setattr(standing_cache, "_TIMEOUT_MS", 5_000)
    yield client
    for key in list_keys(client, settings.REDIS_PREFIX):
        client.delete(key)
    client.close()


def list_keys(client: redis.Redis, prefix: str) -> list[bytes]:
    return list(client.scan_iter(match=f"{prefix}*", count=1000))


class Source:
    """What would be read, how long that takes by its own clock, and how often it was."""

    now = 0

    def __init__(self, *, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.reads = 0

    def __call__(self) -> Standing:
        self.reads += 1
        Source.now += int(self.seconds * 10**9)
        return STANDING


def ask(source: Callable[[], Standing], **more: Any) -> Standing:
    return remember_standing(source, **{"org": None, "reference": "acme", "scope": "s", "at": NOW, **more})


class TestOff:
    def test_reads_every_time(self) -> None:
        source = Source()
        assert [ask(source), ask(source)] == [STANDING, STANDING]
        assert source.reads == 2


class TestRedis:
    def test_says_what_was_read(self, server: redis.Redis) -> None:
        source = Source()
        assert [ask(source), ask(source)] == [STANDING, STANDING]
        assert source.reads == 1

    def test_keeps_every_entry_less_than_a_second(
        self, server: redis.Redis, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.undo()
        assert standing_cache._LIFETIME_MS + standing_cache._TIMEOUT_MS < 1000
        monkeypatch.setattr(standing_cache, "_LIFETIME_MS", 60_000)
        ask(Source())
        [key] = list_keys(server, settings.REDIS_PREFIX)
        left = server.pttl(key)
        assert isinstance(left, int)
        assert 0 < left <= 60_000

    def test_takes_the_time_of_reading_off(self, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
        kept: list[int] = []
        settings.BILLING_ENTITLEMENT_CACHE = "redis"
        monkeypatch.setattr(standing_cache, "_LIFETIME_MS", 900)
        monkeypatch.setattr(standing_cache, "_get", lambda _key: None)
        monkeypatch.setattr(standing_cache, "_set", lambda _key, _entry, milliseconds: kept.append(milliseconds))
        monkeypatch.setattr(Source, "now", 100 * 10**9)
        monkeypatch.setattr(standing_cache, "_now", lambda: Source.now)
        for seconds in (0.25, 0.9, 5.0):
            ask(Source(seconds=seconds))
        assert kept == [650]  # 900 - 250; what took 900 ms or more is too old already

    def test_tells_questions_apart(self, server: redis.Redis) -> None:
        source = Source()
        ask(source)
        for other in (
            {"org": "acme"},
            {"org": ""},
            {"reference": "acme/alice"},
            {"scope": "t"},
            {"at": NOW + timedelta(minutes=1)},
            {"reference": "acme\x1fs", "scope": ""},
        ):
            before = source.reads
            ask(source, **other)
            assert source.reads == before + 1, other

    def test_reads_anew_what_it_cannot_read(self, server: redis.Redis, settings: Any) -> None:
        source = Source()
        ask(source)
        [key] = list_keys(server, settings.REDIS_PREFIX)
        server.set(key, b'{"of": "another version"', px=900)
        assert ask(source) == STANDING
        assert source.reads == 2


class TestRedisGone:
    @pytest.fixture(autouse=True)
    def _gone(self, settings: Any) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        settings.REDIS_URL, settings.BILLING_ENTITLEMENT_CACHE = f"redis://127.0.0.1:{port}/0", "redis"

    def test_the_database_answers(self) -> None:
        source = Source()
        assert [ask(source), ask(source)] == [STANDING, STANDING]
        assert source.reads == 2

    def test_is_left_alone_for_a_moment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        tried: list[str] = []
        connect = standing_cache._connect

        def count(url: str) -> Any:
            tried.append(url)
            return connect(url)

        monkeypatch.setattr(standing_cache, "_connect", count)
        for _ in range(3):
            ask(Source())
        assert len(tried) == 1
        standing_cache._Silence.until = 0
        ask(Source())
        assert len(tried) == 2

    @pytest.mark.django_db
    def test_checks_go_on(self) -> None:
        publish_limits()
        world.subscribe(world.open_account("alice"), "small")
        with clock.travel(NOW):
            answer = make_client().post(DOOR, {"account_id": "alice", "scope": "use:tokens"})
        assert answer.json()["allowed"] is True

    def test_does_not_hide_that_the_database_is_gone(self) -> None:
        def fail() -> Standing:
            raise OperationalError("gone")

        with pytest.raises(OperationalError):
            ask(fail)


@pytest.mark.django_db(transaction=True)
class TestDatabaseGone:
    def test_answers_503_and_recovers(self) -> None:
        publish_limits()
        world.subscribe(world.open_account("alice"), "small")
        client, body = make_client(), {"account_id": "alice", "scope": "use:tokens"}
        with clock.travel(NOW):
            assert client.post(DOOR, body).json()["allowed"] is True
            end_own_connection()
            refused = client.post(DOOR, body)
            assert problem(refused, "storage_unavailable", 503)["retryable"] is True
            assert int(refused.headers["Retry-After"]) > 0
            connection.close()
            assert client.post(DOOR, body).json()["allowed"] is True

    def test_answers_503_while_no_connection_is_to_be_had(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        connection.close()
        with monkeypatch.context() as patched:
            patched.setitem(connection.settings_dict, "HOST", "127.0.0.1")
            patched.setitem(connection.settings_dict, "PORT", str(port))
            answer = make_client().post(DOOR, {"account_id": "alice", "scope": "use:tokens"})
        problem(answer, "storage_unavailable", 503)

    def test_a_plan_change_counts_at_once(self) -> None:
        publish_limits()
        world.subscribe(world.open_account("alice"), "small")
        client, body = make_client(), {"account_id": "alice", "scope": "use:tokens"}
        with clock.travel(NOW):
            assert client.post(DOOR, body).json()["allowed"] is True
            Subscription.objects.update(status="unpaid")
            assert client.post(DOOR, body).json()["allowed"] is False


def end_own_connection() -> None:
    """Have the server end this process's connection, as it does when it is shut down."""
    raw: Any = connection.connection
    backend = raw.info.backend_pid
    with psycopg.connect(raw.info.dsn, password=raw.info.password, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [backend])
