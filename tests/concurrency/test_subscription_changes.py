"""Two changes of one subscription at the same moment, on connections of their own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from typing import Any

import pytest
from django.db import connection, transaction

from accounts.models import Subscription
from billing_site.kernel import clock
from billing_site.platform.models import Event
from invoicing.models import InvoiceLine
from tests.factories.accounts import AT, make_account, make_subscription, publish_catalog
from tests.support.api import make_client
from tests.support.problems import problem

pytestmark = pytest.mark.django_db(transaction=True)

PATIENCE = 10  # seconds


@pytest.fixture
def subscription() -> Subscription:
    publish_catalog()
    return make_subscription(make_account("acme/shop"), "free")


def door(subscription: Subscription, what: str = "") -> str:
    return f"/api/v1/billing/subscriptions/{subscription.public_id}{what}"


def send(call: Callable[[Any], Any]) -> Any:
    """Make a request on a connection of this thread."""
    try:
        with clock.travel(AT):
            return call(make_client())
    finally:
        connection.close()


@contextmanager
def held(subscription: Subscription) -> Iterator[None]:
    """Hold the subscription's row, and let go only when two others wait for it."""
    with transaction.atomic():
        Subscription.objects.select_for_update().get(pk=subscription.pk)
        yield
        deadline = time.monotonic() + PATIENCE
        while count_waiting() < 2:
            assert time.monotonic() < deadline, "nobody waits for the row"
            time.sleep(0.01)


def count_waiting() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return int(cursor.fetchone()[0])


class TestTwoChanges:
    def test_that_saw_the_same_terms_do_not_both_happen(self, subscription: Subscription) -> None:
        calls = [
            lambda client: client.patch(door(subscription), {"plan_id": "pro"}),
            lambda client: client.post(door(subscription, "/change-plan"), {"plan_id": "pro", "quantity": 3}),
        ]
        with ThreadPoolExecutor(2) as pool:
            with held(subscription):
                asked: list[Future[Any]] = [pool.submit(send, call) for call in calls]
            answers = sorted((each.result(timeout=PATIENCE) for each in asked), key=lambda each: each.status_code)
        won, lost = answers
        assert won.status_code == 200, won.content
        assert problem(lost, "conflict", 409)
        subscription.refresh_from_db()
        assert (subscription.revision, subscription.quantity) == (1, won.json()["quantity"])
        assert InvoiceLine.objects.filter(type="proration").count() == 1
        assert Event.objects.filter(type="subscription.updated").count() == 1

    def test_with_one_key_are_one(self, subscription: Subscription) -> None:
        gate = Barrier(2)

        def change(client: Any) -> Any:
            """Ask, and ask again while the first request with the key is still running."""
            gate.wait(timeout=PATIENCE)
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline:
                answer = client.post(door(subscription, "/change-plan"), {"plan_id": "pro"}, HTTP_IDEMPOTENCY_KEY="one")
                if answer.status_code != 409:
                    return answer
                problem(answer, "idempotency_in_progress", 409)
                time.sleep(0.02)
            raise AssertionError("the first request never ended")

        with ThreadPoolExecutor(2) as pool:
            asked = [pool.submit(send, change) for _ in range(2)]
            answers = [each.result(timeout=2 * PATIENCE) for each in asked]
        assert [each.status_code for each in answers] == [200, 200]
        assert answers[0].json() == answers[1].json()
        assert InvoiceLine.objects.filter(type="proration").count() == 1
        assert Event.objects.filter(type="subscription.updated").count() == 1
