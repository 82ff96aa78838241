"""
Any sequence of things that people do to an account leaves money, documents and subscription consistent.

Hypothesis chooses up to thirty actions in any order and every promise is checked after each, on PostgreSQL. What the
product refuses, it refuses with a typed error and without a trace.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import transaction
from django.db.models import Sum
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from accounts.models import (
    BILLABLE_STATUSES,
    UNFINISHED_SCHEDULES,
    LedgerKind,
    Posting,
    Subscription,
    SubscriptionItem,
    SubscriptionSchedule,
)
from accounts.queries.part_prices import NewPart
from accounts.queries.proof import prove_ledger
from accounts.services.adjustments import adjust_invoice_credit
from accounts.services.credit_grants import grant_credit
from accounts.services.deposits import deposit
from accounts.services.discounts import give_discount
from accounts.services.schedule_phases import NewPhase
from billing_site.kernel import clock
from billing_site.kernel.errors import DomainError
from billing_site.kernel.periods import Period, local_date
from billing_site.platform.models import Event
from invoicing.models import Invoice, InvoiceLine, InvoiceStatus
from invoicing.queries.agenda import list_agenda
from invoicing.rehearsal import clockwork
from invoicing.rehearsal.reading import read_story
from invoicing.rehearsal.steps.usage import UsageEvent
from invoicing.rehearsal.world import World, check_promises
from invoicing.services.cancellations import cancel_subscription, reactivate_subscription
from invoicing.services.changes import ChangeRequest, change_subscription, preview_change
from invoicing.services.invoices import void_invoice
from invoicing.services.pauses import pause_subscription, resume_subscription
from invoicing.services.renewals import renew_subscription
from invoicing.services.schedules import create_schedule, release_schedule
from invoicing.services.subscription_items import add_subscription_item, remove_subscription_item
from invoicing.services.subscriptions import start_subscription
from invoicing.services.trials import extend_subscription_trial
from invoicing.services.verification import verify_invoice

STORY = Path(__file__).parent / "life_of_an_account.yaml"
PLANS = st.sampled_from(["free", "small", "seats", "arrears", "large"])
WHEN = st.sampled_from([None, None, "immediate", "period_end"])
BEHAVIOR = st.sampled_from([None, None, "always_invoice", "create_prorations", "none"])
UNUSED = st.sampled_from([None, "forfeit", "credit", "refund"])
# More on request: COUNTINGHOUSE_EXAMPLES=500 pytest tests/end_to_end -k life
EXAMPLES = int(os.environ.get("COUNTINGHOUSE_EXAMPLES", "12"))
_COUNTED_TYPES = ("subscription", "proration")


class Life(RuleBasedStateMachine):
    """One account in a sandbox on its own clock; everything is rolled back at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.sandbox = transaction.atomic()
        self.sandbox.__enter__()
        story = read_story(STORY)
        self.world = World(story)
        with clock.travel(story.start):
            self.world.set_up()
        self.seen: set[Any] = set()

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.sandbox.__exit__(None, None, None)

    # ---- what happens -------------------------------------------------------------------------------------------
    @rule(days=st.integers(0, 40), hours=st.integers(0, 23))
    def time_passes(self, days: int, hours: int) -> None:
        to = self.world.now + timedelta(days=days, hours=hours)
        foreseen = None
        mine = {"account_id__in": self.world.account_ids}
        is_planned = SubscriptionSchedule.objects.filter(**mine, status__in=UNFINISHED_SCHEDULES).exists()
        if not is_planned and not Subscription.objects.filter(**mine, status="paused").exists():
            account, end = self.world.get_account("acme"), to + timedelta(microseconds=1)
            agenda = list_agenda(account, at=self.world.now, until=end)
            foreseen = [entry.amount for entry in agenda if entry.kind == "invoice"]
        issued = set(Invoice.objects.values_list("id", flat=True))
        self.advance(to)
        check_promises()
        came = list(Invoice.objects.exclude(id__in=issued).order_by("number").values_list("total", flat=True))
        assert foreseen is None or came == foreseen, "the agenda tells what comes"

    @rule(plan=PLANS, interval=st.sampled_from(["month", "month", "year"]), trial=st.sampled_from([0, 0, 0, 10]))
    def subscribe(self, plan: str, interval: str, trial: int) -> None:
        def start() -> None:
            found, _ = start_subscription(
                account=self.world.get_account("acme"),
                plan_key=plan,
                at=self.world.now,
                actor=self.world.actor,
                interval=interval,
                trial_period_days=trial,
            )
            self.world.subscriptions["sub"] = found.id

        self.attempt(start)

    @rule(
        plan=st.none() | PLANS,
        quantity=st.none() | st.integers(1, 9),
        interval=st.sampled_from([None, None, "month", "year"]),
        when=WHEN,
        behavior=BEHAVIOR,
    )
    def change(self, plan: str | None, quantity: int | None, interval: str | None, when: Any, behavior: Any) -> None:
        request = ChangeRequest(plan, quantity, interval, when, behavior)
        terms: dict[str, Any] = {"request": request, "at": self.world.now, "actor": self.world.actor}

        def change() -> None:
            quoted = preview_change(subscription_id=self.subscription_id, **terms)
            billed = change_subscription(subscription_id=self.subscription_id, **terms)
            lines = [
                [(line.description, line.amount, line.period) for line in each.settled.draft.lines]
                for each in (quoted, billed)
                if each.settled is not None
            ]
            assert len(lines) in {0, 2}
            assert lines == lines[::-1], "a quote is what is then billed"

        self.attempt(change)

    @rule(until=st.none() | st.integers(1, 70))
    def pause(self, until: int | None) -> None:
        resume_at = self.world.now + timedelta(days=until) if until else None
        self.attempt(
            lambda: pause_subscription(
                subscription_id=self.subscription_id, at=self.world.now, actor=self.world.actor, resume_at=resume_at
            )
        )

    @rule()
    def resume(self) -> None:
        self.attempt(
            lambda: resume_subscription(subscription_id=self.subscription_id, at=self.world.now, actor=self.world.actor)
        )

    @rule(at_period_end=st.booleans(), unused=UNUSED)
    def cancel(self, at_period_end: bool, unused: Any) -> None:
        self.attempt(
            lambda: cancel_subscription(
                subscription_id=self.subscription_id,
                at=self.world.now,
                actor=self.world.actor,
                at_period_end=at_period_end,
                unused=unused,
            )
        )

    @rule()
    def reactivate(self) -> None:
        self.attempt(
            lambda: reactivate_subscription(
                subscription_id=self.subscription_id, at=self.world.now, actor=self.world.actor
            )
        )

    @rule(days=st.integers(1, 20))
    def extend_trial(self, days: int) -> None:
        self.attempt(
            lambda: extend_subscription_trial(
                subscription_id=self.subscription_id, days=days, at=self.world.now, actor=self.world.actor
            )
        )

    @rule(quantity=st.integers(1, 40), hours_ago=st.integers(0, 30))
    def use(self, quantity: int, hours_ago: int) -> None:
        moment = self.world.now - timedelta(hours=hours_ago)
        event = UsageEvent("acme", "calls", Decimal(quantity), moment, {"idempotency_key": uuid4().hex})
        self.attempt(lambda: event.play(self.world))

    @rule(amount=st.integers(1, 9000))
    def top_up(self, amount: int) -> None:
        self.attempt(
            lambda: deposit(
                account=self.world.get_account("acme"),
                amount=amount,
                currency="usd",
                at=self.world.now,
                actor=self.world.actor,
            )
        )

    @rule(amount=st.integers(-3000, 3000))
    def adjust(self, amount: int) -> None:
        self.attempt(
            lambda: adjust_invoice_credit(
                account=self.world.get_account("acme"),
                amount=amount,
                currency="usd",
                description="goodwill",
                at=self.world.now,
                actor=self.world.actor,
            )
        )

    @rule(amount=st.integers(1, 3000), days=st.none() | st.integers(1, 60), usage_only=st.booleans())
    def grant(self, amount: int, days: int | None, usage_only: bool) -> None:
        self.attempt(
            lambda: grant_credit(
                account=self.world.get_account("acme"),
                amount=amount,
                currency="usd",
                at=self.world.now,
                actor=self.world.actor,
                expires_at=self.world.now + timedelta(days=days) if days else None,
                eligibility=["calls"] if usage_only else [],
            )
        )

    @rule(percent=st.booleans(), value=st.integers(1, 60), months=st.none() | st.integers(1, 4))
    def discount(self, percent: bool, value: int, months: int | None) -> None:
        self.attempt(
            lambda: give_discount(
                subscription_id=self.subscription_id,
                at=self.world.now,
                actor=self.world.actor,
                percent_off=Decimal(value) if percent else None,
                amount_off=None if percent else value * 50,
                duration_months=months,
            )
        )

    @rule(plans=st.lists(st.sampled_from(["small", "seats", "large"]), min_size=1, max_size=3), days=st.integers(5, 40))
    def schedule(self, plans: list[str], days: int) -> None:
        def plan() -> None:
            starts = [self.world.now + timedelta(days=days * number) for number in range(len(plans) + 1)]
            create_schedule(
                account=self.world.get_account("acme"),
                subscription=self.world.get_subscription("sub"),
                phases=[
                    NewPhase(plan_key=plan, start=start, end=end)
                    for plan, (start, end) in zip(plans, pairwise(starts), strict=True)
                ],
                at=self.world.now,
                actor=self.world.actor,
            )

        self.attempt(plan)

    @rule(quantity=st.integers(1, 4), behavior=st.sampled_from(["create_prorations", "none"]))
    def add_part(self, quantity: int, behavior: Any) -> None:
        self.attempt(
            lambda: add_subscription_item(
                subscription_id=self.subscription_id,
                part=NewPart(plan_key="addon", quantity=quantity),
                at=self.world.now,
                actor=self.world.actor,
                proration_behavior=behavior,
            )
        )

    @rule(behavior=st.sampled_from(["create_prorations", "none"]))
    def remove_part(self, behavior: Any) -> None:
        def remove() -> None:
            part = SubscriptionItem.objects.filter(
                subscription_id=self.subscription_id, ended_at=None, price__plan_version__plan__key="addon"
            ).first()
            if part is not None:
                remove_subscription_item(
                    item_id=part.id, at=self.world.now, actor=self.world.actor, proration_behavior=behavior
                )

        self.attempt(remove)

    @rule(force=st.booleans())
    def renew(self, force: bool) -> None:
        self.attempt(
            lambda: renew_subscription(
                subscription_id=self.subscription_id, at=self.world.now, actor=self.world.actor, force=force
            )
        )

    @rule()
    def void_newest(self) -> None:
        def void() -> None:
            invoice = self.world.get_invoice("last")
            void_invoice(invoice_id=invoice.id, at=self.world.now, actor=self.world.actor, reason="mistake")

        self.attempt(void)

    # ---- what must hold -----------------------------------------------------------------------------------------
    @invariant()
    def the_ledger_is_proven(self) -> None:
        assert prove_ledger().fault is None

    @invariant()
    def what_is_owed_is_what_the_ledger_says(self) -> None:
        open_ones = Invoice.objects.filter(org_id=self.world.org_id, status=InvoiceStatus.OPEN)
        owed = sum(invoice.amount_remaining for invoice in open_ones)
        receivable = Posting.objects.filter(
            ledger_account__kind=LedgerKind.RECEIVABLE, ledger_account__account_id__in=self.world.account_ids
        )
        assert (receivable.aggregate(total=Sum("amount"))["total"] or 0) == owed

    @invariant()
    def documents_add_up_and_explain_themselves(self) -> None:
        issued = Invoice.objects.filter(org_id=self.world.org_id, number__isnull=False).order_by("number")
        assert [invoice.number for invoice in issued] == list(range(1, len(issued) + 1))
        for invoice in issued:
            if invoice.id not in self.seen:
                self.seen.add(invoice.id)
                assert not verify_invoice(invoice).differences

    @invariant()
    def nothing_due_is_left_behind(self) -> None:
        for each in self.subscriptions():
            assert each.current_period_start < each.current_period_end
            if each.status in BILLABLE_STATUSES and each.next_billing_at is not None:
                assert each.next_billing_at > self.world.now
                assert each.next_billing_at == each.current_period_end

    @invariant()
    def no_day_of_a_fee_is_charged_twice(self) -> None:
        """Of every subscription, the charges for a day less the credits for it are none or one."""
        for each in self.subscriptions():
            days: Counter[tuple[bool, date]] = Counter()
            for line in self.fee_lines(each):
                sign = -1 if line.trace["charge"].get("is_credit") else 1
                is_part = line.trace["charge"]["plan_id"] == "addon"
                for day in _list_days(line.period, each):
                    days[is_part, day] += sign
            wrong = {day: count for day, count in days.items() if count not in {0, 1}}
            assert not wrong, f"{each}: {wrong}"

    @invariant()
    def usage_is_charged_once(self) -> None:
        for each in self.subscriptions():
            lines = InvoiceLine.objects.filter(
                subscription_item__subscription=each, type="usage", is_reversed=False
            ).exclude(invoice__status=InvoiceStatus.VOID)
            stretches = sorted((line.meter_id, line.period_start, line.period_end) for line in lines)
            for before, after in pairwise(stretches):
                assert before[0] != after[0] or before[2] <= after[1], f"{before} and {after}"

    @invariant()
    def parts_agree_with_the_terms(self) -> None:
        for each in self.subscriptions():
            items = SubscriptionItem.objects.filter(subscription=each, ended_at__isnull=True, billing_mode="licensed")
            own = list(items.exclude(price__plan_version__plan__key="addon"))
            assert len(own) <= 1
            for item in own:
                assert item.quantity == each.quantity
                assert item.price is not None
                assert item.price.plan_version_id == each.plan_version_id

    # ---- helpers ------------------------------------------------------------------------------------------------
    def advance(self, to: datetime) -> None:
        """Move the clock; a phase that cannot begin (of a paused subscription, say) makes the operator release it."""
        try:
            clockwork.advance(self.world, to, stop=_ignore)
        except DomainError:
            stuck = SubscriptionSchedule.objects.filter(
                account_id__in=self.world.account_ids, status__in=UNFINISHED_SCHEDULES
            )
            assert stuck.exists(), "only a step of a schedule may be refused on the way"
            for schedule in stuck:
                with clock.travel(self.world.now):
                    release_schedule(schedule_id=schedule.pk, at=self.world.now, actor=self.world.actor)
            clockwork.run_cycle(self.world)
            clockwork.advance(self.world, to, stop=_ignore)

    @property
    def subscription_id(self) -> Any:
        return self.world.get_subscription("sub").id

    def subscriptions(self) -> list[Subscription]:
        return list(Subscription.objects.filter(account_id__in=self.world.account_ids).select_related("plan_version"))

    def fee_lines(self, subscription: Subscription) -> list[InvoiceLine]:
        lines = InvoiceLine.objects.filter(
            subscription_item__subscription=subscription, type__in=_COUNTED_TYPES, is_reversed=False
        )
        return list(lines.exclude(invoice__status=InvoiceStatus.VOID))

    def attempt(self, action: Callable[[], Any]) -> None:
        """Do it; a refusal must leave nothing behind, not even an event."""
        before = Event.objects.count(), Invoice.objects.count(), Posting.objects.count()
        try:
            with transaction.atomic(), clock.travel(self.world.now):
                action()
                check_promises()
        except DomainError:
            assert (Event.objects.count(), Invoice.objects.count(), Posting.objects.count()) == before


def _ignore(_remarks: list[str]) -> None:
    """What happened on the way is checked by the invariants."""


def _list_days(period: Period, subscription: Subscription) -> list[date]:
    first, last = local_date(period.start, subscription.zone), local_date(period.end, subscription.zone)
    return [first + timedelta(days=number) for number in range((last - first).days)]


@pytest.mark.django_db
def test_any_life_of_an_account_is_consistent() -> None:
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=30,
            deadline=None,
            database=None,
            phases=[Phase.generate],  # shrinking thirty steps on a database takes minutes
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
