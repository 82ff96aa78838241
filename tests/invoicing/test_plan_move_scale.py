"""Sixty subscriptions of three versions, in two currencies and three zones: billed to the cent as previewed."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from accounts.models import Subscription
from accounts.services.price_overrides import set_price_override
from catalog.models import Plan, PlanVersion
from catalog.services.publishing import publish_document
from invoicing.models import Invoice
from invoicing.queries.plan_moves import MovePlan, get_target, preview_move, select_subscriptions
from invoicing.services.plan_moves import MoveRequest, count_items, start_move, work_move
from invoicing.services.verification import verify_invoice
from metering.services.ingest import NewUsageEvent, record_usage_events
from tests.support import world

pytestmark = pytest.mark.django_db

COUNT = 60
NOVEMBER_20 = datetime(2023, 11, 20, tzinfo=UTC)
DECEMBER_20 = datetime(2023, 12, 20, tzinfo=UTC)
FIRST_RENEWAL = datetime(2023, 12, 2, tzinfo=UTC)
SECOND_RENEWAL = datetime(2024, 1, 2, tzinfo=UTC)
ZONES = ("UTC", "Europe/Berlin", "America/New_York")


def publish(*, fees: dict[str, int], input_price: str, first_tier: str) -> None:
    """Publish the plan Pro: a fee, input tokens per unit, output tokens in two tiers, in two currencies."""
    document = world.make_document()
    pro = document["plans"][1]
    pro["prices"] = [
        price
        for currency, fee in fees.items()
        for price in (
            {"currency": currency, "interval": "month", "unit_amount": fee},
            {"currency": currency, "interval": "month", "meter": "input_tokens", "unit_amount": input_price},
            {
                "currency": currency,
                "interval": "month",
                "meter": "output_tokens",
                "model": "graduated",
                "tiers": [
                    {"up_to": 100_000, "unit_amount": first_tier, "flat_amount": "150"},
                    {"up_to": None, "unit_amount": "0.00013"},
                ],
            },
        )
    ]
    publish_document(org_id="default", document=document, at=world.OCTOBER, actor=world.TESTER)


EDITIONS: list[dict[str, Any]] = [
    {"fees": {"usd": 1000, "eur": 900}, "input_price": "0.00005", "first_tier": "0.0002"},
    {"fees": {"usd": 1250, "eur": 1150}, "input_price": "0.00006", "first_tier": "0.00021"},
    {"fees": {"usd": 1599, "eur": 1499}, "input_price": "0.000071", "first_tier": "0.00017"},
]


@pytest.fixture
def subscriptions() -> list[Subscription]:
    """Twenty on each version; every tenth account negotiated a fee."""
    made = []
    dice = random.Random(60)
    for edition, terms in enumerate(EDITIONS):
        publish(**terms)
        for number in range(edition * COUNT // 3, (edition + 1) * COUNT // 3):
            currency = "eur" if number % 4 == 0 else "usd"
            account = world.open_account(f"a-{number:02}", currency=currency, timezone=ZONES[number % 3])
            if number % 10 == 0:
                set_price_override(
                    account=account,
                    lookup_key=f"pro:{currency}:month",
                    price={"unit_amount": 777},
                    effective_from=world.OCTOBER,
                    at=world.OCTOBER,
                    actor=world.TESTER,
                    reason="contract",
                )
            local_november = datetime(2023, 11, 1, 12, tzinfo=UTC)
            made.append(world.subscribe(account, "pro", at=local_november, quantity=dice.randint(1, 5)))
    record_usage_events(events=list(make_usage(made, dice)), at=DECEMBER_20, actor=world.TESTER)
    return made


def make_usage(subscriptions: list[Subscription], dice: random.Random) -> Iterator[NewUsageEvent]:
    """Yield the same odd quantities in both months, so that every line has something to round."""
    for each in subscriptions:
        for meter, most in (("input_tokens", 9_000_000), ("output_tokens", 400_000)):
            quantity = Decimal(dice.randrange(most)) + Decimal("0.5")
            for at in (NOVEMBER_20, DECEMBER_20):
                key = f"{meter}-{at:%B}"
                yield NewUsageEvent(each.account, meter, quantity, timestamp=at, idempotency_key=key)


def get_on_sale() -> PlanVersion:
    version = Plan.objects.select_related("current_version").get(key="pro").current_version
    assert version is not None
    return version


def preview(subscriptions: list[Subscription]) -> MovePlan:
    return preview_move(subscriptions, target=get_target(get_on_sale()), timing="period_end")


def sum_invoices(subscriptions: list[Subscription], *, boundary: int) -> dict[str, int]:
    """Return the totals by currency of what a boundary billed, each invoice verified from its trace."""
    sums: dict[str, int] = defaultdict(int)
    for invoice in Invoice.objects.filter(subscription__in=subscriptions, boundary=boundary):
        assert verify_invoice(invoice, check_usage=True).differences == []
        sums[invoice.currency] += invoice.total
    return dict(sums)


def test_half_of_them_are_moved_and_all_are_billed_as_previewed(subscriptions: list[Subscription]) -> None:
    third = get_on_sale()
    assert third.version == 3
    # Those on the third already are nobody to move: half of all are chosen from the other two versions.
    movable = list(select_subscriptions(plan=third.plan, to_version=third))
    assert len(movable) == 40
    chosen = [each for number, each in enumerate(movable) if number % 4 != 3]
    assert len(chosen) == COUNT // 2
    staying = [each for each in subscriptions if each.pk not in {moved.pk for moved in chosen}]
    going, left = preview(chosen), preview(staying)

    request = MoveRequest("default", "pro", "period_end", subscription_ids=[each.pk for each in chosen])
    started = start_move(request=request, at=NOVEMBER_20, actor=world.TESTER, reason="half of them")
    moved = work_move(move_id=started.id, at=NOVEMBER_20, actor=world.TESTER)
    assert count_items(moved) == {"pending": 0, "applied": COUNT // 2, "failed": 0}

    # first renewal: November at the prices they had, the fee of December at the new or the old version
    world.run_cycle(as_of=FIRST_RENEWAL)
    assert sum_invoices(chosen, boundary=1) == {total.currency: total.next_after for total in going.totals}
    assert sum_invoices(staying, boundary=1) == {total.currency: total.next_before for total in left.totals}
    assert all(total.next_after != total.next_before for total in going.totals)

    # second renewal: the same use of December wholly at the version each is on
    world.run_cycle(as_of=SECOND_RENEWAL)
    assert sum_invoices(chosen, boundary=2) == {total.currency: total.monthly_after for total in going.totals}
    assert sum_invoices(staying, boundary=2) == {total.currency: total.monthly_before for total in left.totals}

    # each for itself, not only in the sum
    for each in going.previews:
        first, second = Invoice.objects.filter(subscription=each.subscription, boundary__gte=1).order_by("boundary")
        assert (first.total, second.total) == (each.next_after, each.monthly_after)
    versions = Subscription.objects.filter(pk__in=[each.pk for each in chosen]).values_list("plan_version", flat=True)
    assert set(versions) == {third.pk}
