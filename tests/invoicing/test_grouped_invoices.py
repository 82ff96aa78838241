"""Subscriptions of an account that share an invoice: runs, previews, failures, and what the database keeps of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.models import Subscription
from accounts.queries.proof import prove_ledger
from accounts.services.accounts import update_account
from accounts.services.deposits import deposit
from accounts.services.discounts import give_discount
from billing_site.kernel import clock
from billing_site.kernel.ids import new_uuid
from billing_site.kernel.periods import Period
from invoicing.models import Invoice, InvoiceLine, InvoiceMember, RunOutcome, Seller
from invoicing.queries.documents import load_invoice_view
from invoicing.queries.dry_runs import dry_run
from invoicing.queries.due import list_due
from invoicing.queries.previews import preview_subscriptions, preview_upcoming
from invoicing.services.balance_payments import pay_from_balance
from invoicing.services.billing import bill_subscriptions
from invoicing.services.documents import get_invoice_pdf
from invoicing.services.invoices import void_invoice
from invoicing.services.run_control import retry_failed
from invoicing.services.run_work import work_run
from invoicing.services.verification import verify_invoice
from tests.invoicing.test_previews import compare
from tests.support import costs, world
from tests.support.api import make_client
from tests.support.jobs import SentJobs

pytestmark = pytest.mark.django_db
MIDDLE = datetime(2023, 11, 16, tzinfo=UTC)
JANUARY = datetime(2024, 1, 1, tzinfo=UTC)
PLANS = ("fee", "per_unit", "committed")


@pytest.fixture(autouse=True)
def _now() -> Iterator[None]:
    with clock.travel(MIDDLE):
        yield


def open_group(handle: str = "acme", *, plans: tuple[str, ...] = PLANS, **profile: Any) -> list[Subscription]:
    """Open an account that wants one invoice, and start a subscription to each of the plans; runs hold nothing."""
    account = world.open_account(handle, invoice_grouping="account", **profile)
    group = [world.subscribe(account, plan, interval="week" if plan == "weekly" else "month") for plan in plans]
    Seller.objects.update(review_factor=None)  # a shared invoice is more than its parts were
    return group


def list_shared() -> list[Invoice]:
    return list(Invoice.objects.filter(is_grouped=True).order_by("id"))


def list_owners(invoice: Invoice) -> list[UUID]:
    return list(InvoiceMember.objects.filter(invoice=invoice).values_list("subscription_id", flat=True))


class TestARun:
    @pytest.fixture(autouse=True)
    def _plans(self) -> None:
        costs.publish_plans()

    def test_names_the_same_invoice_for_each(self) -> None:
        group = open_group()
        run = world.run_cycle(as_of=world.DECEMBER)
        (invoice,) = list_shared()
        assert list_owners(invoice) == [each.pk for each in group]
        outcomes = RunOutcome.objects.filter(run=run)
        assert {(row.status, row.invoice_count, row.last_invoice_id) for row in outcomes} == {("issued", 1, invoice.pk)}
        owners = {line.subscription_id for line in InvoiceLine.objects.filter(invoice=invoice)}
        assert owners == {each.pk for each in group}
        assert verify_invoice(invoice, check_usage=True).differences == []
        assert prove_ledger().holds

    def test_never_tears_a_group(self, settings: Any) -> None:
        settings.BILLING_RUN_CHUNK_SIZE = 1
        for number in range(3):
            open_group(f"customer-{number}")
        world.run_cycle(as_of=world.DECEMBER)
        assert [len(list_owners(invoice)) for invoice in list_shared()] == [3, 3, 3]

    def test_takes_the_rest_of_a_group_beyond_its_limit(self) -> None:
        group = open_group()
        world.subscribe(world.open_account("other"), "fee")
        page = list_due(as_of=world.DECEMBER, org_id="default", limit=1)
        assert [each.subscription_id for each in page.items] == [each.pk for each in group]
        assert page.remaining == 1
        run = world.run_cycle(as_of=world.DECEMBER, limit=1)
        assert (run.outcomes.count(), run.remaining, len(list_shared())) == (3, 1, 1)

    def test_catches_up_on_the_invoices_that_were_missed(self) -> None:
        def bill(handle: str, days: list[int]) -> list[tuple[Any, ...]]:
            group = open_group(handle, plans=("weekly", "per_unit", "late_fee"))
            for day in days:
                world.run_cycle(as_of=datetime(2023, 11, 30, tzinfo=UTC) + timedelta(days=day))
            made = Invoice.objects.filter(account=group[0].account).order_by("id")
            return [(each.is_grouped, each.total, each.period_start, each.period_end) for each in made]

        # In time, and a month late in one run.
        assert bill("daily", list(range(-29, 35))) == bill("late", [34])
        assert [len(list_owners(invoice)) for invoice in list_shared()] == [2, 2, 2, 2]

    def test_needs_as_many_queries_for_many_as_for_few(self) -> None:
        def count(prefix: str, accounts: int) -> int:
            for number in range(accounts):
                open_group(f"{prefix}-{number}")
            with CaptureQueriesContext(connection) as captured:
                world.run_cycle(as_of=world.DECEMBER)
            return len(captured)

        count("first", 1)
        assert count("few", 2) == count("many", 4)
        assert len(list_shared()) == 7

    def test_holds_a_shared_invoice_as_a_whole(self) -> None:
        group = open_group()
        seller = Invoice.objects.latest("id").seller
        seller.review_amounts = {"usd": 2000}
        seller.save()
        run = world.run_cycle(as_of=world.DECEMBER)
        (invoice,) = list_shared()
        assert (invoice.status, invoice.in_review) == ("draft", True)
        rows = RunOutcome.objects.filter(run=run)
        assert {(row.status, row.last_invoice_id) for row in rows} == {("held_for_review", invoice.pk)}
        assert len(rows) == len(group)


class TestAFailure:
    def break_one(self, subscription: Subscription) -> None:
        """Bill its next period alone and set it back, as if that had not been stored."""
        before = Subscription.objects.filter(pk=subscription.pk).values(
            "next_boundary", "next_billing_at", "current_period_start", "current_period_end"
        )[0]
        bill_subscriptions(subscription_ids=[subscription.pk], as_of=world.DECEMBER, actor=world.TESTER)
        Subscription.objects.filter(pk=subscription.pk).update(**before)

    def test_leaves_the_others_their_shared_invoice(self, sent_jobs: SentJobs) -> None:
        costs.publish_plans()
        group = open_group()
        self.break_one(group[1])
        run = world.run_cycle(as_of=world.DECEMBER)
        (invoice,) = list_shared()
        assert list_owners(invoice) == [group[0].pk, group[2].pk]
        found = {row.subscription_id: (row.status, row.error_code) for row in RunOutcome.objects.filter(run=run)}
        assert found == {
            group[0].pk: ("issued", ""),
            group[1].pk: ("failed", "period_already_invoiced"),
            group[2].pk: ("issued", ""),
        }
        assert run.status == "completed"
        billed = Invoice.objects.get(subscription=group[1], boundary=1)
        void_invoice(invoice_id=billed.pk, at=world.DECEMBER, actor=world.TESTER)
        retry_failed(run_id=run.pk, at=world.DECEMBER, actor=world.TESTER)
        work_run(run_id=run.pk, actor=world.TESTER)
        row = RunOutcome.objects.get(run=run, subscription=group[1])
        assert (row.status, row.leader) == ("issued", None)
        assert Invoice.objects.get(subscription=group[1], boundary=1, status="open").pk == row.last_invoice_id
        assert prove_ledger().holds

    def test_of_all_reports_each(self) -> None:
        costs.publish_plans()
        group = open_group(plans=("fee", "per_unit"))
        for each in group:
            self.break_one(each)
        run = world.run_cycle(as_of=world.DECEMBER)
        assert {row.error_code for row in RunOutcome.objects.filter(run=run)} == {"period_already_invoiced"}
        assert list_shared() == []


class TestPreviews:
    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        seed=st.integers(0, 10**6),
        events=st.integers(0, 40),
        plans=st.sets(st.sampled_from(list(costs.PRICES)), min_size=2, max_size=4),
        percent=st.integers(0, 3),
        place=st.sampled_from(["", "DE"]),
        prepaid=st.integers(0, 4000),
    )
    def test_equal_what_is_issued(
        self, seed: int, events: int, plans: set[str], percent: int, place: str, prepaid: int
    ) -> None:
        with transaction.atomic():
            costs.publish_plans()
            group = open_group(plans=tuple(sorted(plans)), country=place)
            account = group[0].account
            if percent:
                give_discount(
                    subscription_id=group[0].pk,
                    percent_off=Decimal(percent * 7),
                    at=world.NOVEMBER,
                    actor=world.TESTER,
                    duration_months=1,
                )
            if prepaid:
                deposit(
                    account=account, amount=prepaid, currency="usd", at=MIDDLE, actor=world.TESTER, key=new_uuid().hex
                )
            costs.use_randomly(account, Period(world.NOVEMBER, MIDDLE), events=events, seed=seed)
            upcoming = [preview_upcoming(subscription_id=each.pk, at=MIDDLE) for each in group]
            previewed = preview_subscriptions(subscription_ids=[each.pk for each in group], as_of=world.DECEMBER)
            dry = [each.invoice for batch in dry_run(org_id="default", as_of=world.DECEMBER) for each in batch.invoices]
            before = set(Invoice.objects.values_list("pk", flat=True))
            world.run_cycle(as_of=world.DECEMBER)
            made = list(Invoice.objects.exclude(pk__in=before))
            listed = [invoice for each in previewed for invoice in each.invoices]
            assert len(made) == len(listed) == len(dry) <= 1
            for invoice in made:
                compare(listed[0], invoice)
                compare(dry[0], invoice)
                owners = {*list_owners(invoice), invoice.subscription_id}
                for subscription, found in zip(group, upcoming, strict=True):
                    assert found is not None
                    if subscription.pk in owners:
                        compare(found, invoice)
                    else:
                        assert not found.draft.lines
                assert verify_invoice(invoice, check_usage=True).differences == []
            transaction.set_rollback(True)

    def test_are_told_by_the_api(self) -> None:
        costs.publish_plans()
        group = open_group()
        account = group[0].account
        query = f"account={account.public_id}&subscription_id={group[1].public_id}"
        shown = make_client().get(f"/api/v1/billing/invoices/upcoming?{query}").json()
        owners = {line["subscription_id"] for line in shown["line_items"]}
        assert owners == {each.public_id for each in group}
        assert shown["subscription_id"] == group[1].public_id


class TestASharedInvoice:
    @pytest.fixture
    def group(self) -> list[Subscription]:
        costs.publish_plans()
        return open_group()

    @pytest.fixture
    def invoice(self, group: list[Subscription]) -> Invoice:
        world.run_cycle(as_of=world.DECEMBER)
        return list_shared()[0]

    def test_is_shown_by_subscription(self, group: list[Subscription], invoice: Invoice) -> None:
        shown = make_client().get(f"/api/v1/billing/invoices/{invoice.public_id}").json()
        ids = [each.public_id for each in group]
        assert (shown["subscription_id"], shown["subscription_ids"]) == (None, ids)
        assert {line["subscription_id"] for line in shown["line_items"]} == set(ids)
        for each in group:
            found = make_client().get(f"/api/v1/billing/invoices?subscription_id={each.public_id}").json()["items"]
            assert found[0]["id"] == invoice.public_id

    def test_has_a_heading_for_each_on_paper(self, invoice: Invoice) -> None:
        view = load_invoice_view(invoice)
        assert list(dict.fromkeys(line.group_name for line in view.lines)) == ["Fee", "Per_Unit", "Committed"]
        assert get_invoice_pdf(invoice).startswith(b"%PDF")

    def test_void_frees_the_periods_of_all(self, group: list[Subscription], invoice: Invoice) -> None:
        void_invoice(invoice_id=invoice.pk, at=world.DECEMBER, actor=world.TESTER)
        assert set(InvoiceMember.objects.values_list("is_reversed", flat=True)) == {True}
        assert set(InvoiceLine.objects.filter(invoice=invoice).values_list("is_reversed", flat=True)) == {True}
        assert prove_ledger().holds

    def test_paid_switches_on_whoever_waits_for_it(self, group: list[Subscription], invoice: Invoice) -> None:
        Invoice.objects.filter(boundary=0, status="open").update(status="uncollectible")
        for each in Invoice.objects.filter(status="uncollectible"):
            deposit(
                account=each.account,
                amount=each.total,
                currency="usd",
                at=MIDDLE,
                actor=world.TESTER,
                key=each.public_id,
            )
            pay_from_balance(invoice_id=each.pk, at=world.DECEMBER, actor=world.TESTER)
        Subscription.objects.update(status="past_due")
        deposit(account=invoice.account, amount=invoice.total, currency="usd", at=MIDDLE, actor=world.TESTER, key="all")
        pay_from_balance(invoice_id=invoice.pk, at=world.DECEMBER, actor=world.TESTER)
        assert set(Subscription.objects.values_list("status", flat=True)) == {"active"}

    @pytest.mark.parametrize(
        ("statement", "match"),
        [
            ("UPDATE invoice_members SET boundary = 9", "fixed"),
            ("UPDATE invoice_members SET is_reversed = true", "fixed"),
            ("DELETE FROM invoice_members", "stays on its invoice"),
            (
                "INSERT INTO invoice_members (id, invoice_id, position, subscription_id, boundary, is_reversed)"
                " SELECT gen_random_uuid(), invoice_id, 9, subscription_id, 9, false FROM invoice_members LIMIT 1",
                "no further subscription|subscription_once",
            ),
            ("TRUNCATE invoice_members", "truncated"),
        ],
    )
    def test_keeps_whom_it_bills(self, invoice: Invoice, statement: str, match: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        with pytest.raises(IntegrityError, match=match), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)

    def test_of_a_boundary_is_not_billed_alone_too(self, invoice: Invoice, group: list[Subscription]) -> None:
        draft = world.copy_as_draft(invoice, over_nothing=True)
        draft.pk, draft.is_grouped, draft.subscription, draft.boundary = new_uuid(), False, group[2], 1
        with pytest.raises(IntegrityError, match="on an invoice for several"), transaction.atomic():
            draft.save(force_insert=True)

    def test_does_not_bill_what_was_billed_alone(self, invoice: Invoice, group: list[Subscription]) -> None:
        draft = world.copy_as_draft(invoice, over_nothing=True)
        row = InvoiceMember(invoice=draft, position=1, subscription=group[0], boundary=0)
        with pytest.raises(IntegrityError, match="billed alone already"), transaction.atomic():
            row.save(force_insert=True)

    def test_of_a_boundary_stands_once(self, invoice: Invoice, group: list[Subscription]) -> None:
        draft = world.copy_as_draft(invoice, over_nothing=True)
        row = InvoiceMember(invoice=draft, position=1, subscription=group[0], boundary=1)
        with pytest.raises(IntegrityError, match="invoice_members_period_billed_once"), transaction.atomic():
            row.save(force_insert=True)

    def test_ends_with_the_choice_of_the_account(self, group: list[Subscription], invoice: Invoice) -> None:
        update_account(
            account_id=group[0].account_id,
            changes={"invoice_grouping": "separate"},
            at=world.DECEMBER,
            actor=world.TESTER,
        )
        world.run_cycle(as_of=JANUARY)
        assert list_shared() == [invoice]
        assert Invoice.objects.filter(subscription__in=group, boundary=2).count() == 3
