"""A small world to bill: a catalog, accounts, subscriptions and usage, made through the product's own services."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from accounts.models import Account, Subscription
from accounts.services.accounts import create_account
from billing_site.kernel.actors import Actor
from billing_site.kernel.ids import new_uuid
from catalog.services.publishing import publish_document
from invoicing.models import BillingRun, Invoice
from invoicing.services.run_work import work_run
from invoicing.services.runs import RunRequest, plan_run
from invoicing.services.subscriptions import start_subscription
from metering.services.ingest import NewUsageEvent, record_usage_events

TESTER = Actor("staff", "tester")
OCTOBER = datetime(2023, 10, 1, tzinfo=UTC)
NOVEMBER = datetime(2023, 11, 1, tzinfo=UTC)
DECEMBER = datetime(2023, 12, 1, tzinfo=UTC)


def make_document(*, fee: int = 1000, input_price: str = "0.00005", output_price: str = "0.00015") -> dict[str, Any]:
    """Return a catalog document with the plans `payg` (usage only), `pro` (fee in advance and usage) and `free`."""
    usage = [
        {"currency": "usd", "interval": "month", "meter": name, "model": "per_unit", "unit_amount": amount}
        for name, amount in (("input_tokens", input_price), ("output_tokens", output_price))
    ]
    return {
        "version": 1,
        "products": [{"id": "llm", "name": "Language models"}, {"id": "platform", "name": "Platform"}],
        "meters": [
            {"name": "input_tokens", "unit": "tokens", "display_name": "Input tokens"},
            {"name": "output_tokens", "unit": "tokens", "display_name": "Output tokens"},
        ],
        "plans": [
            {"id": "payg", "product_id": "llm", "name": "Pay as you go", "prices": usage},
            {
                "id": "pro",
                "product_id": "llm",
                "name": "Pro",
                "prices": [{"currency": "usd", "interval": "month", "unit_amount": fee}, *usage],
            },
            {
                "id": "free",
                "product_id": "platform",
                "name": "Free",
                "prices": [{"currency": "usd", "interval": "month", "unit_amount": 0}],
            },
        ],
    }


def publish(*, at: datetime = OCTOBER, org_id: str = "default", **options: Any) -> None:
    """Publish the test catalog."""
    publish_document(org_id=org_id, document=make_document(**options), at=at, actor=TESTER)


def open_account(handle: str = "acme", *, at: datetime = OCTOBER, **profile: Any) -> Account:
    """Open an account without a plan."""
    profile.setdefault("name", handle.title())
    return create_account(external_id=handle, at=at, actor=TESTER, with_default_plan=False, **profile)


def subscribe(account: Account, plan_key: str = "pro", *, at: datetime = NOVEMBER, **options: Any) -> Subscription:
    """Start a subscription and bill its first boundary."""
    return start_subscription(account=account, plan_key=plan_key, at=at, actor=TESTER, **options)[0]


def use(account: Account, meter: str, quantities: Sequence[str | int], *, at: datetime, key: str = "u") -> None:
    """Record one event per quantity, all at `at`."""
    record_usage_events(
        events=[
            NewUsageEvent(account, meter, Decimal(quantity), timestamp=at, idempotency_key=f"{key}-{number}")
            for number, quantity in enumerate(quantities)
        ],
        at=at,
        actor=TESTER,
    )


def run_cycle(*, as_of: datetime, org_id: str = "default", **options: Any) -> BillingRun:
    """Plan a run and work it off."""
    run = plan_run(org_id=org_id, as_of=as_of, request=RunRequest(TESTER), livemode=False, **options)
    return work_run(run_id=run.id, actor=TESTER)


def list_invoices() -> list[Invoice]:
    """Return all invoices, oldest first."""
    return list(Invoice.objects.order_by("id").prefetch_related("lines"))


def copy_as_draft(invoice: Invoice, *, over_nothing: bool = False) -> Invoice:
    """Return a stored draft of what an issued invoice was before, or of one over nothing; it settles no boundary."""
    draft = Invoice.objects.get(pk=invoice.pk)
    draft.pk, draft.status, draft.boundary = new_uuid(), "draft", None
    draft.number = draft.finalized_at = draft.issue_date = draft.due_date = None
    draft.number_text = draft.series = ""
    if over_nothing:
        draft.subtotal = draft.total = draft.amount_due = 0
    draft.save(force_insert=True)
    return draft
