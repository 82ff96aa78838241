"""Deferred revenue: what issuing defers, what days release, what voiding takes back, and that the ledger proves it."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import LedgerAccount, LedgerEntry
from accounts.queries.proof import prove_ledger
from billing_site.kernel.ids import new_uuid
from catalog.services.tax_rates import create_tax_rate
from invoicing.models import Invoice, RevenueRelease, RevenueSchedule
from invoicing.queries.previews import preview_subscriptions
from invoicing.services.billing import bill_subscriptions
from invoicing.services.changes import ChangeRequest, change_subscription
from invoicing.services.invoices import finalize_invoice, void_invoice
from invoicing.services.revenue import defer_credit, release_revenue
from invoicing.tasks.revenue import release_revenue as release_revenue_task
from tests.accounts.queries.test_proof import tamper
from tests.support import world
from tests.support.world import DECEMBER, NOVEMBER, TESTER

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def catalog() -> None:
    world.publish()


def balances() -> dict[str, int]:
    """Return what is deferred and what is revenue, as credits above zero."""
    assert prove_ledger().fault is None
    pots = LedgerAccount.objects.filter(kind__in=("revenue", "deferred_revenue"), currency="usd")
    return {"revenue": 0, "deferred_revenue": 0} | {pot.kind: -pot.balance for pot in pots}


def on(day: int, month: int = 11) -> datetime:
    """Return the morning after a day of 2023 has ended."""
    return datetime(2023, month, day, 3, tzinfo=UTC) + timedelta(days=1)


class TestIssuing:
    def test_defers_a_fee_in_advance_and_books_usage_at_once(self) -> None:
        account = world.open_account()
        world.subscribe(account, "pro")
        assert balances() == {"revenue": 0, "deferred_revenue": 1000}
        world.use(account, "input_tokens", [2_000_000], at=NOVEMBER + timedelta(days=3))
        release_revenue(at=on(30))
        world.run_cycle(as_of=DECEMBER)
        # The fee of November is earned, 2,000,000 × 0.00005 = 100 of usage, and the fee of December is to come.
        assert balances() == {"revenue": 1100, "deferred_revenue": 1000}
        schedule = RevenueSchedule.objects.get(is_open=True)
        assert (schedule.first_day, schedule.end_day) == (date(2023, 12, 1), date(2024, 1, 1))

    def test_books_the_days_before_the_issue_at_once(self) -> None:
        subscription = world.subscribe(world.open_account(), "payg")
        change_subscription(
            subscription_id=subscription.id,
            request=ChangeRequest(plan_key="pro", proration_behavior="create_prorations"),
            at=NOVEMBER + timedelta(days=10),
            actor=TESTER,
        )
        world.run_cycle(as_of=DECEMBER)
        # 20 of 30 days of 10.00 are past when the invoice of December is issued: 667; the fee of December waits.
        assert balances() == {"revenue": 667, "deferred_revenue": 1000}

    def test_splits_a_line_that_covers_past_and_coming_days(self) -> None:
        subscription = world.subscribe(world.open_account(), "pro", at=NOVEMBER)
        bill_subscriptions(subscription_ids=[subscription.id], as_of=DECEMBER + timedelta(days=10), actor=TESTER)
        schedule = RevenueSchedule.objects.get(first_day=date(2023, 12, 1))
        assert schedule.deferred_from == date(2023, 12, 11)
        # 1000 = 31 × 32 + 8: the first eight days bring 33, two more 32.
        assert schedule.at_issue == 8 * 33 + 2 * 32
        assert balances() == {"revenue": 328, "deferred_revenue": 1000 + 672}

    def test_defers_no_tax(self) -> None:
        terms: dict[str, Any] = {"at": world.OCTOBER, "actor": TESTER, "name": "VAT", "org_id": "default"}
        create_tax_rate(rate=Decimal("0.19"), country="DE", **terms)
        create_tax_rate(rate=Decimal("0.25"), country="DK", inclusive=True, **terms)
        for country in ("DE", "DK"):
            world.subscribe(world.open_account(country.lower(), country=country), "pro")
        # 10.00 on top of which tax comes, and 10.00 with 2.00 of tax in it.
        assert sorted(each.amount for each in RevenueSchedule.objects.all()) == [800, 1000]
        assert balances() == {"revenue": 0, "deferred_revenue": 1800}

    def test_counts_the_days_of_the_account(self) -> None:
        account = world.open_account(timezone="Pacific/Auckland")
        world.subscribe(account, "pro", at=datetime(2023, 10, 31, 11, tzinfo=UTC))
        schedule = RevenueSchedule.objects.get()
        assert (schedule.first_day, schedule.end_day) == (date(2023, 11, 1), date(2023, 12, 1))

    def test_reads_the_lines_of_a_draft_that_is_finalized_alone(self) -> None:
        world.subscribe(world.open_account(), "pro")
        (invoice,) = world.list_invoices()
        line = invoice.lines.get()
        draft = world.copy_as_draft(invoice)
        line.pk, line.invoice, line.subscription_item = new_uuid(), draft, None
        line.save(force_insert=True)
        finalize_invoice(invoice_id=draft.pk, at=NOVEMBER + timedelta(days=1), actor=TESTER)
        # 29 of 30 days of 10.00; one day of 34 is revenue.
        assert balances() == {"revenue": 34, "deferred_revenue": 1000 + 966}

    def test_takes_the_same_queries_for_one_and_for_many(self) -> None:
        counts = []
        for number in (1, 6):
            ids = []
            for each in range(number):
                account = world.open_account(f"org-{number}-{each}")
                ids.append(world.subscribe(account, "pro").id)
            with CaptureQueriesContext(
                connection,
            ) as queries:
                bill_subscriptions(subscription_ids=ids, as_of=DECEMBER, actor=TESTER)
            counts.append(sum("revenue_schedules" in query["sql"] for query in queries))
        assert counts[0] == counts[1]

    def test_a_preview_defers_nothing(self) -> None:
        subscription = world.subscribe(world.open_account(), "pro")
        preview_subscriptions(subscription_ids=[subscription.id], as_of=DECEMBER)
        assert RevenueSchedule.objects.count() == 1


class TestReleasing:
    def test_posts_one_entry_a_day_for_all_lines(self) -> None:
        for number in range(3):
            world.subscribe(world.open_account(f"a{number}"), "pro")
        with CaptureQueriesContext(connection) as queries:
            (release,) = release_revenue(at=on(1))
        assert len(queries) < 25
        # 10.00 over 30 days begins with 34, three times.
        assert (release.amount, release.schedules, release.day) == (102, 3, date(2023, 11, 1))
        assert release.entry is not None
        assert release.entry.created_at.date() == release.day
        assert sorted(release.entry.postings.values_list("ledger_account__kind", "amount")) == [
            ("deferred_revenue", 102),
            ("revenue", -102),
        ]
        assert balances() == {"revenue": 102, "deferred_revenue": 2898}

    def test_catches_up_day_by_day_and_does_nothing_twice(self) -> None:
        world.subscribe(world.open_account(), "pro")
        assert release_revenue(at=on(1) - timedelta(hours=4)) == []  # the first day has not ended
        released = release_revenue(at=on(12))
        assert [each.day.day for each in released] == list(range(1, 13))
        assert [each.amount for each in released] == [34] * 10 + [33] * 2
        assert release_revenue(at=on(12)) == []
        assert len(release_revenue(at=on(3, 12))) == 18  # nothing is left after the 30th
        assert balances() == {"revenue": 1000, "deferred_revenue": 0}
        assert not RevenueSchedule.objects.filter(is_open=True).exists()

    def test_takes_what_was_issued_late_with_the_next_day(self) -> None:
        world.subscribe(world.open_account("one"), "pro")
        release_revenue(at=on(5))
        world.subscribe(world.open_account("two"), "pro", at=NOVEMBER + timedelta(days=3))
        (release,) = release_revenue(at=on(6))
        # The sixth day of the one, and the days 4, 5 and 6 of the other (30 days from 4 November).
        assert (release.amount, release.schedules) == (34 + 3 * 34, 2)
        assert RevenueSchedule.objects.filter(first_release=release).count() == 1
        balances()

    def test_keeps_sellers_apart(self) -> None:
        world.publish(org_id="umbrella")
        world.subscribe(world.open_account("umbrella/one"), "pro")
        world.subscribe(world.open_account("two"), "pro")
        released = release_revenue(at=on(1))
        assert sorted(each.seller.org_id for each in released) == ["default", "umbrella"]
        assert [each.amount for each in released] == [34, 34]

    def test_runs_as_a_task(self, monkeypatch: pytest.MonkeyPatch) -> None:
        world.subscribe(world.open_account(), "pro")
        monkeypatch.setattr("billing_site.kernel.clock.now", lambda *_: on(2))
        assert release_revenue_task() == 2


class TestVoiding:
    def test_takes_back_what_is_deferred_and_what_was_released(self) -> None:
        world.subscribe(world.open_account("keeps"), "pro")
        world.subscribe(world.open_account("leaves"), "pro")
        release_revenue(at=on(10))
        before = balances()
        invoice = Invoice.objects.get(account__external_id="leaves")
        void_invoice(invoice_id=invoice.pk, at=on(10), actor=TESTER)
        assert before == {"revenue": 680, "deferred_revenue": 1320}
        assert balances() == {"revenue": 340, "deferred_revenue": 660}
        release_revenue(at=on(30))
        assert balances() == {"revenue": 1000, "deferred_revenue": 0}

    def test_takes_back_nothing_more_when_all_is_earned(self) -> None:
        world.subscribe(world.open_account(), "pro")
        release_revenue(at=on(30))
        void_invoice(invoice_id=world.list_invoices()[0].pk, at=on(30), actor=TESTER)
        assert balances() == {"revenue": 0, "deferred_revenue": 0}
        assert LedgerEntry.objects.filter(type="revenue_back").count() == 1


class TestCredits:
    def test_take_what_is_not_earned_first_and_lower_the_days_to_come(self) -> None:
        world.subscribe(world.open_account(), "pro")
        (invoice,) = world.list_invoices()
        release_revenue(at=on(20))
        rest = balances()["deferred_revenue"]
        assert rest == 330
        assert defer_credit(invoice, source="credit_note:first", credited={1: 100}) == 100
        assert defer_credit(invoice, source="credit_note:second", credited={1: 900}) == 230
        assert sum(each.deferred for each in RevenueSchedule.objects.all()) == 0


TAMPERING = {
    "what a line has earned": "UPDATE revenue_schedules SET recognized = recognized + 1",
    "a day skipped": "UPDATE revenue_schedules SET recognized_until = recognized_until + 1, recognized = 136",
    "a schedule removed": "DELETE FROM revenue_schedules",
    "a release of another amount": "UPDATE revenue_releases SET amount = amount + 1",
    "a release removed": "DELETE FROM revenue_releases WHERE day = '2023-11-02'",
    "a line that ended early": "UPDATE revenue_schedules SET is_open = false, taken_back_at = now()",
}


@pytest.mark.parametrize("what", TAMPERING)
def test_the_proof_finds(what: str) -> None:
    world.subscribe(world.open_account(), "pro")
    release_revenue(at=on(3))
    balances()
    tamper(TAMPERING[what])
    assert prove_ledger().fault is not None


@pytest.mark.parametrize("seed", range(4))
def test_the_ledger_holds_after_any_order_of_issuing_voiding_and_releasing(seed: int) -> None:
    chance, day = random.Random(seed), NOVEMBER
    accounts: list[Any] = []
    for number in range(24):
        match chance.choice(["subscribe", "run", "void", "release"]):
            case "subscribe":
                account = world.open_account(f"a{number}", timezone=chance.choice(["UTC", "Asia/Tokyo", "US/Hawaii"]))
                world.subscribe(account, "pro", at=day)
                accounts.append(account)
            case "run":
                world.run_cycle(as_of=day)
            case "void" if Invoice.objects.filter(status="open").exists():
                chosen = chance.choice(list(Invoice.objects.filter(status="open").order_by("id")))
                void_invoice(invoice_id=chosen.pk, at=day, actor=TESTER)
            case _:
                release_revenue(at=day)
        assert prove_ledger().fault is None
        day += timedelta(days=chance.randint(0, 9), hours=chance.randint(0, 23))
    release_revenue(at=day + timedelta(days=400))
    issued = Invoice.objects.exclude(status__in=("void", "draft"))
    assert balances() == {"revenue": sum(each.total for each in issued), "deferred_revenue": 0}
    releases = RevenueRelease.objects.values_list("seller", "currency", "day")
    assert len(set(releases)) == len(releases)
