"""
Histories that nobody thought of: whatever happened, a closed period is billed once and comes out the same again.

Examples are few, each is a whole life; more of them: COUNTINGHOUSE_EXAMPLES=1000.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import pytest
from django.db import transaction
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from accounts.models import Account, Subscription, SubscriptionStatus
from accounts.queries.proof import prove_ledger
from accounts.services.deposits import deposit
from accounts.services.discounts import give_discount
from billing_site.kernel.errors import DomainError
from catalog.services.publishing import publish_document
from catalog.services.tax_rates import create_tax_rate
from invoicing.models import CreditNote, Invoice
from invoicing.queries.period_invoices import Month
from invoicing.services.cancellations import cancel_subscription
from invoicing.services.changes import ChangeRequest, change_subscription
from invoicing.services.credit_note_verification import verify_credit_note
from invoicing.services.pauses import pause_subscription, resume_subscription
from invoicing.services.revenue import release_revenue
from invoicing.services.sellers import ensure_sellers
from invoicing.services.shadow import shadow_month
from invoicing.services.verification import verify_invoice
from tests.support import world
from tests.support.world import TESTER

pytestmark = pytest.mark.django_db
START: Final = datetime(2024, 1, 10, 9, tzinfo=UTC)
DAYS: Final = 100
END: Final = START + timedelta(days=DAYS)
MONTHS: Final = ("2024-01", "2024-02", "2024-03", "2024-04", "2024-05")

Step = Callable[[Account, Subscription, datetime], object]


def sell() -> None:
    """Sell an app at three fees, with usage that has tiers, a minimum, or neither."""
    month = {"currency": "eur", "interval": "month"}
    calls = {**month, "meter": "calls"}
    tiers = [{"up_to": 100, "unit_amount": "3"}, {"up_to": None, "unit_amount": "1.7"}]
    prices = {
        "small": [{**month, "unit_amount": 999}, {**calls, "unit_amount": "2", "minimum_amount": 700}],
        "medium": [{**month, "unit_amount": 2950}, {**calls, "model": "graduated", "tiers": tiers}],
        "large": [{**month, "unit_amount": 6001}, {**calls, "unit_amount": "1", "maximum_amount": 150}],
    }
    document = {
        "version": 1,
        "products": [{"id": "app", "name": "App"}],
        "meters": [{"name": "calls", "unit": "calls"}],
        "plans": [
            {"id": key, "product_id": "app", "name": key.title(), "prices": each} for key, each in prices.items()
        ],
    }
    publish_document(org_id="default", document=document, at=world.OCTOBER, actor=TESTER)


def use(quantity: int, back: int) -> Step:
    def step(account: Account, _: Subscription, at: datetime) -> None:
        world.use(account, "calls", [quantity], at=max(START, at - timedelta(days=back)), key=str(at))

    return step


def change(behavior: Any, effective: Any, **terms: Any) -> Step:
    request = ChangeRequest(effective=effective, proration_behavior=behavior, **terms)
    return lambda _, subscription, at: change_subscription(
        subscription_id=subscription.pk, request=request, at=at, actor=TESTER
    )


def pay_in(amount: int) -> Step:
    return lambda account, _, at: deposit(account=account, amount=amount, currency="eur", at=at, actor=TESTER)


def discount(percent: int, months: int) -> Step:
    return lambda _, subscription, at: give_discount(
        subscription_id=subscription.pk, percent_off=Decimal(percent), duration_months=months, at=at, actor=TESTER
    )


def pause(_: Account, subscription: Subscription, at: datetime) -> object:
    if subscription.status == SubscriptionStatus.PAUSED:
        return resume_subscription(subscription_id=subscription.pk, at=at, actor=TESTER)
    return pause_subscription(subscription_id=subscription.pk, at=at, actor=TESTER)


def cancel(unused: Any) -> Step:
    return lambda _, subscription, at: cancel_subscription(
        subscription_id=subscription.pk, at=at, actor=TESTER, at_period_end=False, unused=unused
    )


def bill(_: Account, __: Subscription, at: datetime) -> object:
    return world.run_cycle(as_of=at)


STEPS: Final = st.one_of(
    st.builds(use, st.integers(1, 300), st.integers(0, 20)),
    st.builds(
        change,
        st.sampled_from([None, "always_invoice", "create_prorations", "none"]),
        st.sampled_from([None, "immediate", "period_end"]),
        plan_key=st.sampled_from(["small", "medium", "large"]),
        quantity=st.integers(1, 4),
    ),
    st.builds(pay_in, st.integers(1, 9000)),
    st.builds(discount, st.integers(1, 60), st.integers(1, 3)),
    st.just(pause),
    st.just(bill),
)
HISTORIES: Final = st.lists(st.tuples(st.integers(1, 30), STEPS), max_size=9)


@settings(
    max_examples=max(3, int(os.environ.get("COUNTINGHOUSE_EXAMPLES", "60")) // 20),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # to make a whole life shorter takes many
)
@given(
    plan=st.sampled_from(["small", "medium", "large"]),
    history=HISTORIES,
    ending=st.sampled_from(["forfeit", "credit", "refund"]),
    inclusive=st.booleans(),
    mode=st.sampled_from(["rate", "line", "keep_gross"]),
)
def test_closed_periods_come_out_the_same_again(
    plan: str, history: list[tuple[int, Step]], ending: str, inclusive: bool, mode: str
) -> None:
    with transaction.atomic():
        live(plan, history, ending, inclusive=inclusive, mode=mode)
        require_proven()
        before = snapshot()
        world.run_cycle(as_of=END + timedelta(days=60))
        world.run_cycle(as_of=END + timedelta(days=60))
        assert snapshot() == before, "a closed period was billed again"
        transaction.set_rollback(True)


def live(plan: str, history: list[tuple[int, Step]], ending: str, *, inclusive: bool, mode: str) -> None:
    """Play a history: what is refused is left out; at its end the subscription ends."""
    sell()
    create_tax_rate(
        org_id="default",
        country="DE",
        rate=Decimal("0.19"),
        name="USt",
        inclusive=inclusive,
        at=world.OCTOBER,
        actor=TESTER,
    )
    account = world.open_account(currency="eur", country="DE", timezone="Europe/Berlin")
    seller = ensure_sellers([account]).of(account)
    seller.country, seller.tax_mode = "DE", mode
    seller.save(update_fields=["country", "tax_mode"])
    deposit(account=account, amount=5000, currency="eur", at=START, actor=TESTER)
    subscription = world.subscribe(account, plan, at=START)
    at = START
    for days, step in [*history, (5, cancel(ending))]:
        at = min(at + timedelta(days=days), END)
        subscription.refresh_from_db()
        try:
            with transaction.atomic():
                step(account, subscription, at)
        except DomainError:
            continue
    release_revenue(at=END)


def require_proven() -> None:
    """Whatever happened, the books balance, documents follow from their facts, and nothing was credited twice."""
    assert prove_ledger().holds
    for invoice in Invoice.objects.prefetch_related("lines", "credit_notes"):
        lines = list(invoice.lines.all())
        assert invoice.subtotal == sum(line.amount for line in lines)
        assert invoice.discount == sum(line.discount for line in lines)
        assert invoice.tax == sum(line.tax for line in lines)
        assert invoice.total == invoice.subtotal - invoice.discount + invoice.tax
        assert sum(note.total for note in invoice.credit_notes.all()) <= max(0, invoice.total)
        assert verify_invoice(invoice).differences == []
    for note in CreditNote.objects.all():
        assert verify_credit_note(note).differences == []
    for month in MONTHS:
        for batch in shadow_month(Month.parse(month), org_id="default"):
            for found in batch:
                assert (list(found.stored), list(found.anew)) == ([], []), f"{month}: {found.invoice}"


def snapshot() -> list[tuple[object, ...]]:
    """Return every invoice and note with its amounts."""
    invoices = Invoice.objects.order_by("id").values_list("id", "status", "total", "tax", "boundary")
    return [*invoices, *CreditNote.objects.order_by("id").values_list("id", "status", "total")]
