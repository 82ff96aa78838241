"""Advisory locks: one holder at a time across connections, released with the transaction."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest
from django.db import connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from billing_site.kernel.locks import acquire_lock, lock_key, try_lock

Answer = TypeVar("Answer")


def elsewhere(action: Callable[[], Answer]) -> Answer:
    """Run `action` in a transaction of another connection and return its answer."""

    def run() -> Answer:
        try:
            with transaction.atomic():
                return action()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run).result(timeout=20)


class TestLockKey:
    @given(st.lists(st.text(), min_size=1))
    def test_fits_a_bigint_and_is_stable(self, parts: list[str]) -> None:
        parts = [part.encode("utf-8", "replace").decode() for part in parts]
        assert -(2**63) <= lock_key(*parts) < 2**63
        assert lock_key(*parts) == lock_key(*parts)

    def test_tells_the_parts_apart(self) -> None:
        assert lock_key("ab", "c") != lock_key("a", "bc") != lock_key("abc")

    def test_does_not_change_between_releases(self) -> None:
        # Two versions of the product running side by side must mean the same lock.
        assert lock_key("run", "acc_1") == lock_key("run", "acc_1")
        assert lock_key("run") == -339162738548374635


@pytest.mark.django_db(transaction=True)
class TestTryLock:
    def test_is_refused_while_another_holds_it(self) -> None:
        with transaction.atomic():
            assert try_lock("run", "one")
            assert not elsewhere(lambda: try_lock("run", "one"))
            assert elsewhere(lambda: try_lock("run", "other"))

    def test_is_free_after_the_transaction(self) -> None:
        with transaction.atomic():
            assert try_lock("run", "one")
        assert elsewhere(lambda: try_lock("run", "one"))

    def test_may_be_taken_again_by_its_holder(self) -> None:
        with transaction.atomic():
            acquire_lock("run", "one")
            assert try_lock("run", "one")


@pytest.mark.django_db(transaction=True)
class TestAcquireLock:
    def test_waits_for_the_holder(self) -> None:
        order: list[str] = []
        started = threading.Event()

        def wait() -> None:
            try:
                with transaction.atomic():
                    started.set()
                    acquire_lock("run", "one")
                    order.append("second")
            finally:
                connection.close()

        thread = threading.Thread(target=wait)
        with transaction.atomic():
            acquire_lock("run", "one")
            thread.start()
            assert started.wait(10)
            thread.join(0.3)
            assert thread.is_alive()
            order.append("first")
        thread.join(10)
        assert order == ["first", "second"]
