"""A POST repeated with its key has one effect, whichever door it is: each door has a row here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

import pytest
from django.urls import resolve
from drf_spectacular.generators import SchemaGenerator

from accounts.services.credit_grants import grant_credit
from accounts.services.deposits import deposit
from accounts.services.price_overrides import set_price_override
from accounts.services.spending import spend_prepaid
from billing_site.kernel import clock
from billing_site.platform.models import Event
from catalog.services.coupons import create_coupon
from invoicing.services.cancellations import cancel_subscription
from invoicing.services.pauses import pause_subscription
from invoicing.services.schedules import create_schedule
from tests.factories.payment_methods import make_payment_method
from tests.support import world
from tests.support.api import make_client
from tests.support.problems import problem
from tests.support.schedules import phase
from tests.support.stored import hash_database
from tests.support.world import DECEMBER, NOVEMBER, TESTER

pytestmark = pytest.mark.django_db

V1: Final = "/api/v1/billing"
INTERNAL: Final = "/api/internal/billing"
ONE, NEW = "acme/shop", "acme/new"  # an account with something of everything, and one with nothing
PHASES: Final = [{"plan_id": "pro", "start_date": "2024-01-01T00:00:00Z"}]


# A repeat of these says that it is one, as the contract wants it: tests of their own look at it.
TELLING: Final = frozenset({f"{V1}/reconciliation/match", f"{V1}/bank-transfer-instructions/reconciliation/match"})


@dataclass(frozen=True, slots=True)
class Door:
    """A POST: its path as OpenAPI writes it, what stands in its braces, and a body that is accepted."""

    path: str
    body: dict[str, Any] = field(default_factory=dict)
    in_path: dict[str, str] = field(default_factory=dict)
    writes: bool = True

    def __str__(self) -> str:
        return self.path.removeprefix("/api/").replace("billing/", "")


DOORS: Final = [
    Door(f"{V1}/accounts", {"name": "Zoe", "external_id": "zoe"}),
    Door(f"{V1}/accounts/{{account_id}}/members", {"user_id": "bob", "role": "admin"}, {"account_id": ONE}),
    Door(f"{V1}/deposit", {"account": ONE, "amount": 500}),
    Door(f"{V1}/withdraw", {"account": ONE, "amount": 100}),
    Door(f"{V1}/refund", {"account": ONE, "amount": 30, "original_transaction_id": "{spent}"}),
    Door(f"{V1}/customer-balance/adjustments", {"account": ONE, "amount": 70, "description": "sorry"}),
    Door(f"{V1}/credit", {"account": ONE}),
    Door(f"{V1}/credit-grants", {"account": ONE, "amount_cents": 500}),
    Door(f"{V1}/credit-grants/{{grant_id}}/void", {"reason": "mistake"}, {"grant_id": "{grant}"}),
    Door(f"{V1}/coupons/validate", {"account": ONE, "code": "launch"}, writes=False),
    Door(f"{V1}/coupons/redeem", {"account": ONE, "code": "launch", "subscription_id": "{running}"}),
    Door(f"{V1}/subscriptions/{{subscription_id}}/discount", {"percent_off": "10"}, {"subscription_id": "{running}"}),
    Door(
        f"{V1}/subscriptions/{{subscription_id}}/credits",
        {"amount": 90, "reason": "sorry"},
        {"subscription_id": "{running}"},
    ),
    Door(f"{V1}/subscription-schedules", {"account": NEW, "phases": PHASES}),
    Door(f"{V1}/subscription-schedules/{{schedule_id}}/cancel", {}, {"schedule_id": "{schedule}"}),
    Door(f"{V1}/subscription-schedules/{{schedule_id}}/release", {}, {"schedule_id": "{schedule}"}),
    Door(f"{V1}/subscriptions", {"account": NEW, "plan_id": "pro"}),
    Door(f"{V1}/subscriptions/{{subscription_id}}/cancel", {"immediately": True}, {"subscription_id": "{running}"}),
    Door(f"{V1}/subscriptions/{{subscription_id}}/reactivate", {}, {"subscription_id": "{ending}"}),
    Door(
        f"{V1}/subscriptions/{{subscription_id}}/change-plan",
        {"plan_id": "pro", "quantity": 3},
        {"subscription_id": "{running}"},
    ),
    Door(f"{V1}/subscriptions/{{subscription_id}}/pause", {}, {"subscription_id": "{running}"}),
    Door(f"{V1}/subscriptions/{{subscription_id}}/resume", {}, {"subscription_id": "{paused}"}),
    Door(f"{V1}/subscriptions/{{subscription_id}}/renew", {}, {"subscription_id": "{running}"}),
    Door(f"{V1}/subscription-items", {"subscription_id": "{running}", "plan_id": "free", "quantity": 2}),
    Door(f"{V1}/tenants/{{account_id}}/subscriptions", {"plan_id": "pro"}, {"account_id": NEW}),
    Door(
        f"{INTERNAL}/accounts/{{account_id}}/price-overrides",
        {
            "lookup_key": "pro:usd:month:output_tokens",
            "price": {"model": "per_unit", "unit_amount": "0.00004"},
            "effective_from": "2023-12-01",
            "reason": "contract",
        },
        {"account_id": ONE},
    ),
    Door(
        f"{INTERNAL}/accounts/{{account_id}}/price-overrides/{{override_id}}/end",
        {"effective_until": "2024-01-01", "reason": "over"},
        {"account_id": ONE, "override_id": "{override}"},
    ),
    Door(
        f"{INTERNAL}/subscription-updates",
        {"event_id": "evt_1", "account_id": NEW, "provider": "stripe", "status": "active", "plan_id": "pro"},
    ),
    Door(
        f"{INTERNAL}/accounts/{{account_id}}/subscription-grants",
        {"plan_id": "pro", "months": 3, "reason": "sponsored"},
        {"account_id": NEW},
    ),
    Door(f"{V1}/cost-centers", {"account": ONE, "name": "Dev", "code": "dev"}),
    Door(f"{V1}/payment-methods", {"account": ONE, "provider_ref": "tok_mastercard"}),
    Door(
        f"{V1}/customers/{{account_id}}/default-payment-method",
        {"payment_method_id": "{spare}"},
        {"account_id": ONE},
    ),
]


@pytest.fixture(autouse=True)
def _november() -> Iterator[None]:
    with clock.travel(NOVEMBER + timedelta(days=9)):
        yield


@pytest.fixture
def names() -> dict[str, str]:
    """Make the accounts and what they have; return the ids that stand in braces."""
    world.publish()
    account = world.open_account(ONE)
    world.open_account(NEW)
    common: dict[str, Any] = {"account": account, "currency": "usd", "at": NOVEMBER, "actor": TESTER}
    deposit(amount=1000, **common)
    create_coupon(
        org_id="default",
        code="LAUNCH",
        discount_type="percentage",
        discount_value=Decimal(20),
        at=NOVEMBER,
        actor=TESTER,
    )
    ending = world.subscribe(account, "free")
    cancel_subscription(subscription_id=ending.id, at=NOVEMBER, actor=TESTER)
    other = world.open_account("acme/other")
    paused = world.subscribe(world.open_account("acme/paused"), "pro")
    pause_subscription(subscription_id=paused.id, at=NOVEMBER, actor=TESTER)
    made = {
        "spent": spend_prepaid(amount=100, key="usage:1", **common),
        "grant": grant_credit(amount=200, **common),
        "running": world.subscribe(account, "pro"),
        "ending": ending,
        "paused": paused,
        "schedule": create_schedule(account=other, phases=[phase("pro", DECEMBER)], at=NOVEMBER, actor=TESTER),
        "override": set_price_override(
            account=account,
            lookup_key="pro:usd:month:input_tokens",
            price={"model": "per_unit", "unit_amount": "0.00004"},
            effective_from=DECEMBER,
            at=NOVEMBER,
            actor=TESTER,
            reason="contract",
        ),
        "method": make_payment_method(account, at=NOVEMBER),
        "spare": make_payment_method(account, at=NOVEMBER),
    }
    return {name: thing.public_id for name, thing in made.items()}


def fill(values: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {key: value.format_map(names) if isinstance(value, str) else value for key, value in values.items()}


def hash_effect() -> dict[str, str]:
    """Return a hash of what is stored besides how often someone called: a limit counts every call."""
    return {table: value for table, value in hash_database().items() if table != "call_counts"}


@pytest.mark.parametrize("door", DOORS, ids=str)
def test_a_repeat_has_the_same_answer_and_no_effect_and_another_body_is_refused(
    door: Door, names: dict[str, str]
) -> None:
    path, body = door.path.format_map(fill(door.in_path, names)), fill(door.body, names)
    client = make_client()
    events = Event.objects.count()
    first = client.post(path, body, headers={"Idempotency-Key": "once"})
    assert first.status_code in (200, 201), first.content
    assert (Event.objects.count() > events) is door.writes
    stored = hash_effect()
    again = client.post(path, body, headers={"Idempotency-Key": "once"})
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["Idempotent-Replayed"] == "true"
    other = client.post(path, {**body, "metadata": {"other": "1"}}, headers={"Idempotency-Key": "once"})
    problem(other, "idempotency_key_reused", 422)
    assert hash_effect() == stored


def test_every_keyed_door_has_a_row() -> None:
    keyed = set()
    schema = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    for path, operations in schema["paths"].items():
        parameters = operations.get("post", {}).get("parameters", [])
        if any(each["name"] == "Idempotency-Key" for each in parameters):
            view = resolve(path.replace("{", "").replace("}", "")).func
            if view.cls.__module__.startswith("accounts."):  # type: ignore[attr-defined]
                keyed.add(path)
    assert keyed - TELLING == {door.path for door in DOORS}
