"""Usage lines split by cost center: one line claims, its parts sum to it, and both stay as they were issued."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from accounts.models import Account, CostCenter
from accounts.services.cost_centers import CostCenterInUse, delete_cost_center, update_cost_center
from catalog.services.tax_rates import create_tax_rate
from invoicing.models import Invoice, InvoiceLine, InvoiceLineSplit
from invoicing.queries.documents import build_invoice_view
from invoicing.services.invoices import void_invoice
from invoicing.services.verification import verify_invoice
from metering.services.ingest import NewUsageEvent, record_usage_events
from tests.factories.cost_centers import make_cost_center
from tests.support import world
from tests.support.api import make_client
from tests.support.prices import NOON, bill, publish_prices

pytestmark = pytest.mark.django_db
CALLS: dict[str, Any] = {"meter": "calls", "model": "per_unit", "unit_amount": "3.333333333333"}


def use(account: Account, *events: tuple[int, str]) -> None:
    record_usage_events(
        events=[
            NewUsageEvent(account, "calls", Decimal(value), timestamp=NOON, cost_center=code) for value, code in events
        ],
        at=NOON,
        actor=world.TESTER,
    )


@pytest.fixture
def account() -> Account:
    """An account that wants its lines split, with two centers."""
    publish_prices(CALLS)
    account = world.open_account(split_by_cost_center=True)
    make_cost_center(account, "ops", name="Operations")
    make_cost_center(account, "dev", name="Development")
    return account


def parts_of(line: InvoiceLine) -> list[tuple[str, str, int]]:
    return [(part.code, f"{part.quantity.normalize():f}", part.amount) for part in line.splits.all()]


class TestSplitLines:
    def test_are_one_line_with_parts_by_code_and_the_rest_last(self, account: Account) -> None:
        use(account, (1, "ops"), (1, "dev"), (1, ""))
        (line,) = bill(account)  # 3 x 3.333… = 10
        assert line.amount == 10
        assert parts_of(line) == [("dev", "1", 4), ("ops", "1", 3), ("", "1", 3)]
        assert [step["title"] for step in line.trace["steps"]][-3:] == [
            "Cost center Development (dev)",
            "Cost center Operations (ops)",
            "Without a cost center",
        ]

    def test_stay_whole_where_nobody_asked_or_no_center_is_named(self, account: Account) -> None:
        use(account, (3, ""))
        (line,) = bill(account)
        other = world.open_account("other")
        make_cost_center(other, "ops")
        use(other, (3, "ops"))
        (plain,) = bill(other)
        assert [line.splits.count(), plain.splits.count()] == [0, 0]
        assert "centers" not in plain.trace["charge"]

    def test_share_out_every_tier_together(self, account: Account) -> None:
        tiers = [{"up_to": 10, "unit_amount": "10"}, {"up_to": None, "unit_amount": "1"}]
        publish_prices({"meter": "calls", "model": "graduated", "tiers": tiers})
        use(account, (10, "ops"), (5, "dev"))
        (line,) = bill(account)  # 10 x 10 + 5 x 1 = 105; 15 calls are 7 each
        assert parts_of(line) == [("dev", "5", 35), ("ops", "10", 70)]
        first, second = build_invoice_view(line.invoice, [line]).lines
        assert (len(first.parts), second.parts) == (2, ())

    def test_claim_the_period_once(self, account: Account) -> None:
        use(account, (1, "ops"), (1, "dev"))
        (line,) = bill(account)
        again = InvoiceLine(
            **{field.attname: getattr(line, field.attname) for field in InvoiceLine._meta.concrete_fields}
        )
        draft = Invoice.objects.create(
            org_id="default",
            account=account,
            seller=line.invoice.seller,
            currency="usd",
            subtotal=7,
            total=7,
            amount_due=7,
            period_start=line.period_start,
            period_end=line.period_end,
        )
        again.pk, again.invoice = InvoiceLine().pk, draft
        with pytest.raises(IntegrityError, match="period_billed_once"), transaction.atomic():
            again.save(force_insert=True)
        void_invoice(invoice_id=line.invoice_id, at=world.DECEMBER, actor=world.TESTER, reason="wrong")
        again.save(force_insert=True)
        assert parts_of(line) == [("dev", "1", 4), ("ops", "1", 3)]

    def test_take_three_more_statements_for_any_number_of_accounts(self, account: Account) -> None:
        def count(*names: str, wanted: bool) -> int:
            for name in names:
                owner = world.open_account(name, split_by_cost_center=wanted)
                make_cost_center(owner, "ops")
                use(owner, (1, "ops"))
                world.subscribe(owner, "pay")
            with CaptureQueriesContext(connection) as asked:
                world.run_cycle(as_of=world.DECEMBER)
            return len(asked)

        use(account, (1, "ops"))
        bill(account)
        plain = count("plain", wanted=False)
        assert count("one", wanted=True) == plain + 3  # quantities by center, their names, the parts
        assert count("two", "three", "four", wanted=True) == plain + 3
        assert InvoiceLineSplit.objects.count() == 5


class TestIssuedParts:
    def test_do_not_change(self, account: Account) -> None:
        use(account, (1, "ops"), (1, "dev"))
        (line,) = bill(account)
        part = line.splits.all()[0]
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for statement in (
            "UPDATE invoice_line_splits SET amount = amount + 1",
            "DELETE FROM invoice_line_splits",
            "TRUNCATE invoice_line_splits",
        ):
            with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(statement)
        extra = InvoiceLineSplit(line=line, position=9, cost_center=None, quantity=Decimal(1), amount=0)
        with pytest.raises(IntegrityError, match="issued"), transaction.atomic():
            extra.save(force_insert=True)
        assert part.amount == 4

    def test_must_sum_to_their_line(self, account: Account) -> None:
        use(account, (3, ""))
        (line,) = bill(account)
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE invoice_line_splits DISABLE TRIGGER USER")
            cursor.execute(
                "SELECT tgname FROM pg_trigger WHERE tgrelid = 'invoice_line_splits'::regclass AND tgname LIKE %s",
                ["%adds_up%"],
            )
            (name,) = cursor.fetchone()
            cursor.execute(f'ALTER TABLE invoice_line_splits ENABLE TRIGGER "{name}"')
        for amount, is_right in ((line.amount - 1, False), (line.amount, True)):
            part = InvoiceLineSplit(line=line, position=1, quantity=Decimal(3), amount=amount)
            if is_right:
                part.save(force_insert=True)
            else:
                with pytest.raises(IntegrityError, match="must sum"), transaction.atomic():
                    part.save(force_insert=True)
        # The document's trace has no parts, so the recomputation finds the one that was put under it.
        assert [found.where for found in verify_invoice(line.invoice).differences] == ["line 1 splits"]

    def test_keep_the_center_and_its_name(self, account: Account) -> None:
        use(account, (1, "ops"))
        (line,) = bill(account)
        (part,) = line.splits.all()
        assert part.cost_center is not None
        update_cost_center(
            center_id=part.cost_center.pk, changes={"name": "Other", "code": "x"}, at=NOON, actor=world.TESTER
        )
        part.refresh_from_db()
        assert (part.code, part.name) == ("ops", "Operations")
        assert verify_invoice(line.invoice).holds
        with pytest.raises(CostCenterInUse, match="invoice line splits"):
            delete_cost_center(center_id=part.cost_center.pk, at=NOON, actor=world.TESTER)


class TestShownParts:
    def test_are_lines_of_their_own_in_the_api(self, account: Account) -> None:
        use(account, (1, "ops"), (1, "dev"), (1, ""))
        (line,) = bill(account)
        answer = make_client().get(f"/api/v1/billing/invoices/{line.invoice.public_id}").json()
        parts = {part.code: part for part in line.splits.all()}
        centers = {center.code: center.public_id for center in CostCenter.objects.all()}
        assert [
            (item["id"], item["description"], item["quantity"], item["amount"], item["cost_center_id"])
            for item in answer["line_items"]
        ] == [
            (parts["dev"].public_id, "Pay · Calls · Development", "1", 4, centers["dev"]),
            (parts["ops"].public_id, "Pay · Calls · Operations", "1", 3, centers["ops"]),
            (parts[""].public_id, "Pay · Calls · Without a cost center", "1", 3, None),
        ]
        assert sum(item["amount"] for item in answer["line_items"]) == answer["subtotal"]

    def test_share_the_tax_of_their_line_in_the_api(self, account: Account) -> None:
        create_tax_rate(org_id="default", name="VAT", country="DE", rate=Decimal("0.5"), at=NOON, actor=world.TESTER)
        Account.objects.filter(pk=account.pk).update(country="DE")
        use(account, (1, "ops"), (1, "dev"), (1, ""))
        (line,) = bill(account)
        answer = make_client().get(f"/api/v1/billing/invoices/{line.invoice.public_id}").json()
        # 5 cents of tax on 4 + 3 + 3: 2, 1.5 and 1.5; the first remainder takes the cent.
        assert [(item["amount"], item["tax"]) for item in answer["line_items"]] == [(4, 2), (3, 2), (3, 1)]
        assert answer["tax"] == line.tax == 5

    def test_are_lines_of_their_own_on_the_document(self, account: Account) -> None:
        use(account, (1, "ops"), (1, "dev"))
        (line,) = bill(account)
        view = build_invoice_view(line.invoice, [line])
        assert [(shown.description, shown.detail, shown.amount) for shown in view.lines] == [
            ("Pay · Calls · Development", "dev", 4),
            ("Pay · Calls · Operations", "ops", 3),
        ]
