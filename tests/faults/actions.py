"""
The actions that are stopped half-way, each over a small world that has something of everything it touches.

`arrange` makes the world and returns the action. An action is repeated as it is, with the objects it was given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from accounts.models import Account, Subscription
from accounts.queries.part_prices import NewPart
from accounts.queries.tiers import list_tiers
from accounts.services.adjustments import adjust_invoice_credit
from accounts.services.coupons import redeem_coupon
from accounts.services.credit_grants import Recurring, grant_credit
from accounts.services.deposits import deposit
from accounts.services.discounts import give_discount
from accounts.services.holds import capture_hold, create_hold
from billing_site.kernel.periods import Interval
from catalog.services.coupons import create_coupon
from catalog.services.publishing import publish_document
from invoicing.models import Invoice
from invoicing.services.cancellations import cancel_subscription
from invoicing.services.changes import ChangeRequest, change_subscription
from invoicing.services.invoices import void_invoice
from invoicing.services.pauses import pause_subscription, resume_subscription
from invoicing.services.renewals import renew_subscription
from invoicing.services.run_work import work_run
from invoicing.services.runs import RunRequest, plan_run
from invoicing.services.schedule_steps import advance_schedule
from invoicing.services.schedules import create_schedule
from invoicing.services.subscription_items import add_subscription_item
from invoicing.services.subscriptions import start_subscription
from metering.services.charging import ApiCall, charge_usage
from tests.support import world
from tests.support.schedules import phase
from tests.support.world import DECEMBER, NOVEMBER, OCTOBER, TESTER

Run = Callable[[], Any]
EARLY: Final = NOVEMBER + timedelta(days=1)
MIDDLE: Final = datetime(2023, 11, 16, 12, tzinfo=UTC)
AFTERWARDS: Final = DECEMBER + timedelta(days=9)


@dataclass(frozen=True, slots=True)
class Action:
    """
    One use case. `is_whole`: one transaction, so a crash leaves nothing.

    Otherwise what is billed is whole, and the run that did it goes on.
    """

    name: str
    arrange: Callable[[], Run]
    is_whole: bool = True

    def __str__(self) -> str:
        return self.name


def publish() -> None:
    """Publish `basic` and `plus`: a fee in advance by the month or year, and calls at 0.01."""

    def sell(fee: int, interval: str) -> list[dict[str, Any]]:
        terms = {"currency": "usd", "interval": interval}
        return [{**terms, "unit_amount": fee}, {**terms, "meter": "calls", "unit_amount": "1"}]

    document = {
        "version": 1,
        "products": [{"id": "app", "name": "App"}],
        "meters": [{"name": "calls", "unit": "calls", "display_name": "Calls"}],
        "plans": [
            {"id": key, "product_id": "app", "name": key, "prices": [*sell(fee, "month"), *sell(fee * 9, "year")]}
            for key, fee in (("basic", 1000), ("plus", 3000))
        ],
    }
    publish_document(org_id="default", document=document, at=OCTOBER, actor=TESTER)


def open_rich_account(*, at: datetime = OCTOBER) -> Account:
    """Open an account with a little of each kind of stored money: credit 1.00, grants 2.00 and 1.50, prepaid 4.00."""
    publish()
    account = world.open_account()
    common: dict[str, Any] = {"account": account, "currency": "usd", "at": at, "actor": TESTER}
    adjust_invoice_credit(amount=100, description="sorry", **common)
    grant_credit(amount=200, name="Welcome", **common)
    grant_credit(amount=150, eligibility=["calls"], recurring=Recurring(Interval("month")), **common)
    deposit(amount=300, **common)
    deposit(amount=100, tags="gift", expires_at=AFTERWARDS, **common)
    return account


def subscribe(account: Account, plan: str = "basic", **options: Any) -> Subscription:
    return world.subscribe(account, plan, **options)


def make_coupon(kind: str, value: str, **options: Any) -> None:
    values: dict[str, Any] = {"currency": "" if kind == "percentage" else "usd", "at": OCTOBER, "actor": TESTER}
    create_coupon(org_id="default", code="HALF", discount_type=kind, discount_value=Decimal(value), **values, **options)


def start() -> Run:
    account = open_rich_account()
    make_coupon("percentage", "50", max_redemptions=1)
    return lambda: start_subscription(
        account=account, plan_key="basic", quantity=2, at=NOVEMBER, actor=TESTER, coupon_code="half"
    )


def changing(request: ChangeRequest, plan: str = "basic") -> Callable[[], Run]:
    def arrange() -> Run:
        account = open_rich_account(at=EARLY)
        subscription = subscribe(account, plan)
        return lambda: change_subscription(
            subscription_id=subscription.id, request=request, at=MIDDLE, actor=TESTER, expected_revision=0
        )

    return arrange


def change_late() -> Run:
    """The renewal that was missed is billed first, then the change."""
    account = open_rich_account(at=EARLY)
    subscription = subscribe(account)
    world.use(account, "calls", [70], at=MIDDLE)
    request = ChangeRequest(plan_key="plus", proration_behavior="create_prorations")
    return lambda: change_subscription(
        subscription_id=subscription.id, request=request, at=AFTERWARDS, actor=TESTER, expected_revision=0
    )


def pause_late() -> Run:
    """The renewal that was missed is billed first, then the pause begins."""
    account = open_rich_account(at=EARLY)
    subscription = subscribe(account)
    return lambda: pause_subscription(
        subscription_id=subscription.id, at=AFTERWARDS, actor=TESTER, resume_at=AFTERWARDS + timedelta(days=5)
    )


def resume() -> Run:
    account = open_rich_account(at=EARLY)
    subscription = subscribe(account)
    world.use(account, "calls", [70], at=EARLY)
    change_subscription(
        subscription_id=subscription.id,
        request=ChangeRequest(plan_key="plus", effective="period_end"),
        at=MIDDLE,
        actor=TESTER,
    )
    pause_subscription(subscription_id=subscription.id, at=MIDDLE, actor=TESTER)
    return lambda: resume_subscription(subscription_id=subscription.id, at=AFTERWARDS, actor=TESTER)


def cancel() -> Run:
    account = open_rich_account(at=EARLY)
    subscription = subscribe(account)
    create_schedule(
        account=account, subscription=subscription, phases=[phase("basic"), phase("plus", DECEMBER)],
        start_date=NOVEMBER, at=EARLY, actor=TESTER,
    )  # fmt: skip
    world.use(account, "calls", [70], at=EARLY)
    return lambda: cancel_subscription(
        subscription_id=subscription.id, at=MIDDLE, actor=TESTER, at_period_end=False, unused="credit", reason="other"
    )


def cancel_paid() -> Run:
    """The period was paid: a credit note gives its rest back, and its credit pays the usage of the last invoice."""
    account = open_rich_account(at=EARLY)
    deposit(account=account, amount=600, currency="usd", at=EARLY, actor=TESTER)
    subscription = subscribe(account)
    assert Invoice.objects.get().status == "paid"
    world.use(account, "calls", [70], at=EARLY)
    return lambda: cancel_subscription(
        subscription_id=subscription.id, at=MIDDLE, actor=TESTER, at_period_end=False, unused="refund"
    )


def step() -> Run:
    account = open_rich_account(at=EARLY)
    schedule = create_schedule(
        account=account, phases=[phase("basic", NOVEMBER), phase("plus", DECEMBER, quantity=2)], at=EARLY, actor=TESTER
    )
    world.use(account, "calls", [70], at=MIDDLE)
    return lambda: advance_schedule(schedule_id=schedule.id, at=AFTERWARDS, actor=TESTER)


def renew() -> Run:
    """Money of all kinds pays, the discount has its last month, and a charge that waited is taken up."""
    account = open_rich_account(at=EARLY)
    subscription = subscribe(account)
    world.use(account, "calls", [70], at=MIDDLE)
    give_discount(subscription_id=subscription.id, percent_off=Decimal(10), duration_months=1, at=MIDDLE, actor=TESTER)
    change_subscription(
        subscription_id=subscription.id,
        request=ChangeRequest(quantity=3, proration_behavior="create_prorations"),
        at=MIDDLE,
        actor=TESTER,
    )
    run = plan_run(org_id="default", as_of=AFTERWARDS, request=RunRequest(TESTER), livemode=False)
    return lambda: work_run(run_id=run.id, actor=TESTER)


def renew_ahead() -> Run:
    account = open_rich_account(at=EARLY)
    subscription = subscribe(account)
    world.use(account, "calls", [70], at=EARLY)
    return lambda: renew_subscription(subscription_id=subscription.id, at=MIDDLE, actor=TESTER)


def add_part() -> Run:
    account = open_rich_account(at=EARLY)
    subscription = subscribe(account)
    part = NewPart(plan_key="plus", quantity=2)
    return lambda: add_subscription_item(subscription_id=subscription.id, part=part, at=MIDDLE, actor=TESTER)


def void() -> Run:
    account = open_rich_account(at=EARLY)
    subscription = subscribe(account)
    world.use(account, "calls", [70], at=MIDDLE)
    give_discount(subscription_id=subscription.id, percent_off=Decimal(10), duration_months=1, at=MIDDLE, actor=TESTER)
    world.run_cycle(as_of=AFTERWARDS)
    invoice = Invoice.objects.order_by("-number")[0]
    assert 0 < invoice.credit_applied < invoice.total
    return lambda: void_invoice(invoice_id=invoice.id, at=AFTERWARDS, actor=TESTER, reason="wrong")


def put_in() -> Run:
    account = open_rich_account()
    return lambda: deposit(
        account=account, amount=250, currency="usd", at=EARLY, actor=TESTER, expires_in=30, key="deposit:once"
    )


def capture() -> Run:
    account = open_rich_account()
    hold = create_hold(account=account, amount=320, currency="usd", at=MIDDLE, actor=TESTER)
    return lambda: capture_hold(hold_id=hold.id, amount=310, at=MIDDLE, actor=TESTER)


def charge() -> Run:
    """More than the prepaid money: the daily credit covers a part of the rest."""
    account = open_rich_account()
    call = ApiCall(request_id="req-1", model="model-a", total_tokens=1000)
    tier = list_tiers()["free"]
    return lambda: charge_usage(
        account=account, amount=550, currency="usd", call=call, tier=tier, at=MIDDLE, actor=TESTER, client_ip="::1"
    )


def redeeming(kind: str, value: str) -> Callable[[], Run]:
    def arrange() -> Run:
        account = open_rich_account()
        subscription = subscribe(account)
        give_discount(subscription_id=subscription.id, percent_off=Decimal(10), at=EARLY, actor=TESTER)
        make_coupon(kind, value, max_redemptions=1)
        return lambda: redeem_coupon(subscription_id=subscription.id, code="half", at=MIDDLE, actor=TESTER)

    return arrange


ACTIONS: Final = [
    Action("start a subscription with a coupon and stored money", start),
    Action("upgrade now", changing(ChangeRequest(plan_key="plus"))),
    Action("change the quantity", changing(ChangeRequest(quantity=3))),
    Action("change the interval", changing(ChangeRequest(interval="year"))),
    Action("downgrade at period end", changing(ChangeRequest(plan_key="basic"), "plus")),
    Action("change after a missed renewal", change_late),
    Action("pause after a missed renewal", pause_late),
    Action("resume after a renewal that was skipped", resume),
    Action("cancel now with unused credit", cancel),
    Action("cancel a paid period with a credit note", cancel_paid),
    Action("a step of a schedule", step),
    Action("a renewal that stored money pays", renew, is_whole=False),
    Action("renew ahead of time", renew_ahead),
    Action("add a part", add_part),
    Action("void an invoice that stored money paid", void),
    Action("deposit", put_in),
    Action("capture a hold", capture),
    Action("charge usage", charge),
    Action("redeem a coupon for a discount", redeeming("percentage", "50")),
    Action("redeem a coupon for credit", redeeming("credit", "500")),
]
