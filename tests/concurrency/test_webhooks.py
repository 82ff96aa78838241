"""Webhooks handled by several processes and threads at once: one effect, in order."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings
from django.db import connection

from accounts.models import Account, Subscription
from accounts.queries.proof import prove_ledger
from billing_site.platform.models import Event
from invoicing.models import InboundEvent, PaymentIntent
from invoicing.webhooks.handling import Call, Handler, Outcome
from invoicing.webhooks.inbox import sweep_events
from tests.support import world
from tests.support.inbound_event_states import new_event
from tests.support.parallel import race
from tests.support.processes import product_environment
from tests.support.stripe_hooks import HookedStripe, hooked_stripe
from tests.support.webhooks import post_event

pytestmark = pytest.mark.django_db(transaction=True)
PATIENCE = 120
TYPE = "customer.subscription.updated"


@pytest.fixture
def stripe_hooks() -> Iterator[HookedStripe]:
    with hooked_stripe() as running:
        yield running


def start_worker(stripe_hooks: HookedStripe) -> subprocess.Popen[str]:
    environment = product_environment(
        BILLING_PAYMENT_PROVIDER="stripe",
        BILLING_STRIPE_SECRET_KEY=stripe_hooks.server.test_key,
        BILLING_STRIPE_API_BASE=stripe_hooks.server.url,
    )
    return subprocess.Popen(
        [sys.executable, "manage.py", "handle_webhooks"],
        cwd=settings.BASE_DIR,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


class TestProcesses:
    def test_the_same_event_five_times_in_three_processes_has_one_effect(self, stripe_hooks: HookedStripe) -> None:
        world.publish()
        account = world.open_account()
        intent = make_topup(account)
        metadata = {"billing_payment_intent_id": intent.public_id, "billing_account_id": account.public_id}
        stripe_hooks.server.duplicate_webhooks("payment_intent.succeeded", copies=5)
        stripe_hooks.client.payment_intents.create(
            params={
                "amount": 2500,
                "currency": "usd",
                "metadata": metadata,
                "payment_method": "pm_card_visa",
                "confirm": True,
                "return_url": "https://app.example.com",
            }
        )
        stripe_hooks.server.deliver_all()
        assert InboundEvent.objects.filter(type="payment_intent.succeeded").count() == 1
        processes = [start_worker(stripe_hooks) for _ in range(3)]
        for process in processes:
            output, _ = process.communicate(timeout=PATIENCE)
            assert process.returncode == 0, output
        intent.refresh_from_db()
        assert (intent.status, intent.amount_received) == ("succeeded", 2500)
        assert InboundEvent.objects.get(type="payment_intent.succeeded").status == "handled"
        assert Event.objects.filter(type="balance.deposited").count() == 1
        assert prove_ledger().fault is None

    def test_a_killed_one_loses_nothing(self, stripe_hooks: HookedStripe) -> None:
        """It is killed while it asks the provider; another one goes on when the lease has ended."""
        world.publish()
        account = world.open_account()
        customer = stripe_hooks.client.customers.create(params={"metadata": {"billing_account_id": account.public_id}})
        stripe_hooks.server.deliver_all()
        stripe_hooks.server.forget_requests()
        stripe_hooks.server.delay_next(PATIENCE, method="GET", path=f"/customers/{customer.id}")
        process = start_worker(stripe_hooks)
        deadline = time.monotonic() + PATIENCE
        while not stripe_hooks.server.requests:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
        process.communicate(timeout=PATIENCE)
        stripe_hooks.server.heal()
        event = InboundEvent.objects.get()
        assert (event.status, event.attempts) == ("pending", 1)
        assert sweep_events() == 0
        InboundEvent.objects.update(leased_until=datetime.now(UTC) - timedelta(seconds=1))
        assert sweep_events() == 1
        event.refresh_from_db()
        assert (event.status, event.attempts) == ("handled", 2)
        assert Event.objects.filter(type="provider_customer.linked").count() == 1


def make_topup(account: Account) -> PaymentIntent:
    return PaymentIntent.objects.create(
        account=account,
        amount=2500,
        currency="usd",
        purpose="topup",
        provider_type="stripe",
        status="processing",
        pending_call="pay",
        call_key="topup:1",
        called_at=world.NOVEMBER,
        calls=1,
    )


class TestThreads:
    def test_the_same_event_at_the_same_moment_is_stored_once(self, settings: object) -> None:
        settings.BILLING_STRIPE_WEBHOOK_SECRETS = ["whsec_" + "1" * 32]  # type: ignore[attr-defined]
        event = {"id": "evt_1", "type": "x.y", "created": 1, "livemode": False, "data": {"object": {"id": "o"}}}

        def post() -> bool:
            answer = post_event({**event, "created": int(time.time())})
            assert answer.status_code == 200
            return bool(answer.json()["duplicate"])

        assert sorted(race(*[post] * 6)) == [False] + [True] * 5
        assert InboundEvent.objects.count() == 1

    def test_events_of_one_object_are_handled_one_after_the_other(self) -> None:
        """Many sweep at once; of each object at most one event is under way, and the order is kept."""
        from invoicing.services.inbound_events import store_event

        now = datetime.now(UTC)
        for number in (4, 2, 0, 3, 1):
            for name in ("sub_a", "sub_b", "sub_c"):
                at = now - timedelta(minutes=10) + timedelta(seconds=number)
                store_event(new_event(f"{name}-{number}", name, occurred_at=at), at=now)
        done: list[str] = []
        under_way: set[str] = set()

        def fetch(_provider: object, ref: str) -> str:
            assert not connection.in_atomic_block, "the provider is asked in a transaction"
            assert ref not in under_way
            under_way.add(ref)
            time.sleep(0.005)
            return ref

        def apply(call: Call, found: str) -> Outcome:
            done.append(call.event.event_id)
            under_way.discard(found)
            return Outcome("done")

        handlers = {TYPE: Handler(fetch, apply)}
        settled = sum(race(*[lambda: sweep_events(handlers=handlers)] * 6))
        settled += sweep_events(handlers=handlers)
        assert settled == 15
        for name in ("sub_a", "sub_b", "sub_c"):
            assert [each for each in done if each.startswith(name)] == [f"{name}-{number}" for number in range(5)]
        assert not Subscription.objects.exists()
