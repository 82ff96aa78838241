"""Invoices made, edited and paid by hand, through the doors."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.models import Account, CouponRedemption, LedgerAccount, Member
from accounts.services.adjustments import adjust_invoice_credit
from accounts.services.cost_centers import create_cost_center
from accounts.services.credit_grants import grant_credit
from accounts.services.deposits import deposit
from billing_site.kernel import clock
from billing_site.platform.models import Event
from catalog.models import Meter
from catalog.services.coupons import create_coupon
from invoicing.models import Invoice, InvoiceLine
from invoicing.services.collecting import collect_due
from invoicing.services.draft_editing import InvoiceNotDraft, add_lines, apply_discount, create_invoice, remove_discount
from invoicing.services.given_lines import NewLine
from invoicing.services.verification import verify_invoice
from tests.support import world
from tests.support.api import BillingClient
from tests.support.problems import problem

pytestmark = pytest.mark.django_db

INVOICES = "/api/v1/billing/invoices"
Clients = Callable[..., BillingClient]
BY: dict[str, Any] = {"at": world.NOVEMBER, "actor": world.TESTER}


@pytest.fixture(autouse=True)
def _november() -> Any:
    with clock.travel(world.NOVEMBER + timedelta(hours=10)):
        yield


@pytest.fixture
def client(api_client: Clients) -> BillingClient:
    return api_client()


@pytest.fixture
def account() -> Account:
    world.publish()
    return world.open_account(email="acme@example.com")


def make(client: BillingClient, *lines: dict[str, Any], **more: Any) -> dict[str, Any]:
    answer = client.post(INVOICES, {"account": "acme", "line_items": list(lines), **more})
    assert answer.status_code == 201, answer.content
    return dict(answer.json())


def find(body: dict[str, Any]) -> Invoice:
    return Invoice.objects.get(pk=str(Invoice.parse_id(body["id"])))


def holds(body: dict[str, Any]) -> bool:
    return verify_invoice(find(body)).differences == []


class TestMaking:
    def test_amounts_are_given_or_multiplied_and_rounded_once(self, client: BillingClient, account: Account) -> None:
        body = make(
            client,
            {"description": "Set-up", "amount": 50_000},
            {"description": "Consulting", "quantity": "2.5", "unit_price": "9999.5"},  # 24,998.75
            {"description": "Goodwill", "amount": -1000},
            {"description": "Six seats", "quantity": 6, "amount": 1000},
            due_days=30,
            customer_email="books@acme.example",
            metadata={"order": "4711"},
        )
        assert (body["status"], body["number_str"], body["subtotal"]) == ("draft", None, 50_000 + 24_999 - 1000 + 1000)
        shown = [(each["type"], each["quantity"], each["unit_price"], each["amount"]) for each in body["line_items"]]
        assert shown == [
            ("one_off", "1", "50000", 50_000),
            ("one_off", "2.5", "9999.5", 24_999),
            ("one_off", "1", "-1000", -1000),
            ("one_off", "6", "166.666666666667", 1000),
        ]
        assert (body["customer_email"], body["metadata"]) == ("books@acme.example", {"order": "4711"})
        assert body["line_items"][0]["period_start"] == "2023-11-01T00:00:00Z"
        assert [step["title"] for step in body["line_items"][1]["explanation"]] == [
            "Entered",
            "Period",
            "Exact amount",
            "Rounded once",
        ]
        assert holds(body)
        issued = client.post(f"{INVOICES}/{body['id']}/finalize", {}).json()
        assert (issued["number_str"], issued["amount_due"]) == ("INV-0001", 74_999)
        assert (issued["issue_date"], issued["due_date"]) == ("2023-11-01", "2023-12-01")
        assert holds(issued)
        assert Event.objects.filter(type="invoice.created", object_id=body["id"]).count() == 1

    def test_one_without_lines_is_paid_when_it_is_finalized(self, client: BillingClient, account: Account) -> None:
        body = make(client)
        assert (body["line_items"], body["subtotal"], holds(body)) == ([], 0, True)
        issued = client.post(f"{INVOICES}/{body['id']}/finalize", {}).json()
        assert (issued["status"], issued["payment_method"], holds(issued)) == ("paid", "none", True)

    def test_a_meter_a_plan_and_a_cost_center_are_named(self, client: BillingClient, account: Account) -> None:
        center = create_cost_center(account=account, name="Research", code="rd", **BY)
        body = make(
            client,
            {"description": "Tokens", "quantity": 1000, "unit_price": "0.5", "meter_id": "input_tokens"},
            {"description": "A year of Pro", "amount": 9000, "plan_id": "pro"},
            {"description": "Lab", "amount": 300, "cost_center_id": center.public_id},
        )
        first, second, third = body["line_items"]
        assert (first["type"], first["amount"]) == ("usage", 500)
        assert first["meter_id"] == Meter.objects.get(event_name="input_tokens").public_id
        assert (second["type"], second["plan_id"], second["plan_name"]) == ("subscription", "pro", "Pro")
        assert (third["cost_center_id"], third["amount"]) == (center.public_id, 300)
        assert holds(body)
        # What was entered is no usage: nothing is measured for it.
        assert verify_invoice(find(body), check_usage=True).holds

    def test_refusals(self, client: BillingClient, account: Account) -> None:
        def refuse(line: dict[str, Any], code: str, status: int) -> dict[str, Any]:
            body = {"account": "acme", "line_items": [{"description": "x", "amount": 1}, line]}
            return problem(client.post(INVOICES, body), code, status)

        pointer = refuse({"description": "x"}, "validation_failed", 400)["errors"][0]["pointer"]
        assert pointer == "/line_items/1/amount"
        refuse({"description": "x", "unit_price": "5"}, "validation_failed", 400)
        refuse({"description": "x", "quantity": 2, "unit_price": "5", "amount": 11}, "validation_failed", 400)
        refuse({"description": " ", "amount": 1}, "validation_failed", 400)
        refuse({"description": "x", "amount": 1, "currency": "eur"}, "currency_mismatch", 422)
        refuse({"description": "x", "amount": 1, "meter_id": "nothing"}, "not_found", 404)
        refuse({"description": "x", "amount": 1, "plan_id": "nothing"}, "not_found", 404)
        refuse({"description": "x", "amount": 1, "cost_center_id": "cc_1"}, "not_found", 404)
        late = {"description": "x", "amount": 1, "period_start": "2023-12-01", "period_end": "2023-11-01"}
        refuse(late, "validation_failed", 400)
        other = world.subscribe(world.open_account("other"), "pro")
        body = {"account": "acme", "subscription_id": other.public_id}
        problem(client.post(INVOICES, body), "not_found", 404)
        problem(client.post(INVOICES, {"account": "nobody"}), "not_found", 404)
        assert Invoice.objects.filter(account=account).count() == 0

    def test_only_internal_callers(self, api_client: Clients, account: Account) -> None:
        problem(api_client(audience="public", subject="acme").post(INVOICES, {}), "audience_rejected", 403)


class TestEditing:
    def test_lines_come_and_go_and_keep_their_ids(self, client: BillingClient, account: Account) -> None:
        body = make(client, {"description": "One", "amount": 100}, {"description": "Two", "amount": 250})
        path = f"{INVOICES}/{body['id']}/line-items"
        more = client.post(path, {"description": "Three", "quantity": "3", "unit_price": "0.5"}).json()
        assert [(line["description"], line["amount"]) for line in more["line_items"]] == [
            ("One", 100),
            ("Two", 250),
            ("Three", 2),
        ]
        assert [line["id"] for line in more["line_items"]][:2] == [line["id"] for line in body["line_items"]]
        assert (more["subtotal"], more["amount_due"], holds(more)) == (352, 352, True)
        less = client.delete(f"{path}/{body['line_items'][0]['id']}").json()
        assert [line["id"] for line in less["line_items"]] == [line["id"] for line in more["line_items"]][1:]
        assert (less["subtotal"], holds(less)) == (252, True)
        problem(client.delete(f"{path}/{body['line_items'][0]['id']}"), "not_found", 404)
        for line in less["line_items"]:
            less = client.delete(f"{path}/{line['id']}").json()
        assert (less["subtotal"], less["line_items"], holds(less)) == (0, [], True)
        told = Event.objects.filter(type="invoice.updated", object_id=body["id"]).order_by("id")
        assert [event.data["subtotal"] for event in told] == [352, 252, 2, 0]

    def test_two_equal_lines_are_two(self, client: BillingClient, account: Account) -> None:
        body = make(client, *[{"description": "Hour", "amount": 100}] * 2)
        first, second = (line["id"] for line in body["line_items"])
        left = client.delete(f"{INVOICES}/{body['id']}/line-items/{second}").json()
        assert [line["id"] for line in left["line_items"]] == [first]

    def test_an_issued_one_is_refused_by_every_door_and_the_database(
        self, client: BillingClient, account: Account
    ) -> None:
        body = make(client, {"description": "One", "amount": 100})
        client.post(f"{INVOICES}/{body['id']}/finalize", {})
        path = f"{INVOICES}/{body['id']}"
        problem(client.post(f"{path}/line-items", {"description": "x", "amount": 1}), "invoice_not_draft", 409)
        problem(client.delete(f"{path}/line-items/{body['line_items'][0]['id']}"), "invoice_not_draft", 409)
        problem(client.post(f"{path}/apply-discount", {"discount_amount": 1}), "invoice_not_draft", 409)
        with pytest.raises(InvoiceNotDraft):
            add_lines(invoice_id=find(body).pk, lines=[NewLine("x", 1)], **BY)
        with pytest.raises(IntegrityError, match="cannot"), transaction.atomic():
            InvoiceLine.objects.filter(invoice=find(body)).update(amount=1)

    def test_editing_needs_as_many_queries_for_many_lines_as_for_few(
        self, client: BillingClient, account: Account
    ) -> None:
        few = make(client, {"description": "x", "amount": 1})
        many = make(client, *[{"description": "x", "amount": 1}] * 60)
        counts = []
        for body in (few, many):
            with CaptureQueriesContext(connection) as queries:
                add_lines(invoice_id=find(body).pk, lines=[NewLine("y", 1)], **BY)
            counts.append(len(queries))
        assert counts[0] == counts[1]

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        amounts=st.lists(st.integers(-5000, 20_000), min_size=1, max_size=6),
        percent=st.decimals("0.01", "100", places=2),
        off=st.integers(1, 30_000),
    )
    def test_whatever_is_entered_adds_up_and_is_recomputed(
        self, account: Account, amounts: list[int], percent: Decimal, off: int
    ) -> None:
        lines = [NewLine(f"line {index}", amount) for index, amount in enumerate(amounts)]
        invoice = create_invoice(account=account, lines=lines, **BY)
        positive = 0
        for discount in ({"percent_off": percent}, {"amount_off": off}):
            invoice = apply_discount(invoice_id=invoice.pk, **discount, **BY)
            stored = list(invoice.lines.order_by("position"))
            positive = sum(max(0, line.amount) for line in stored)
            assert invoice.subtotal == sum(amounts) == sum(line.amount for line in stored)
            assert invoice.discount == sum(line.discount for line in stored) <= positive
            assert invoice.total == invoice.subtotal - invoice.discount + invoice.tax
            assert verify_invoice(invoice).differences == []
        assert invoice.discount == min(off, positive)


class TestDiscounting:
    def test_the_newest_replaces_and_never_takes_more_than_there_is(
        self, client: BillingClient, account: Account
    ) -> None:
        body = make(client, {"description": "One", "amount": 1000}, {"description": "Two", "amount": 500})
        path = f"{INVOICES}/{body['id']}/apply-discount"
        taken = client.post(path, {"discount_amount": 100, "discount_name": "Sorry"}).json()
        assert (taken["discount"], taken["discount_name"], taken["amount_due"]) == (100, "Sorry", 1400)
        taken = client.post(path, {"discount_amount": 2000, "discount_name": "All"}).json()
        assert (taken["discount"], taken["discount_name"], taken["amount_due"]) == (1500, "All", 0)
        # Of a line less, less is taken off.
        path = f"{INVOICES}/{body['id']}/line-items/{body['line_items'][1]['id']}"
        less = client.delete(path).json()
        assert (less["subtotal"], less["discount"], holds(less)) == (1000, 1000, True)
        invoice = remove_discount(invoice_id=find(body).pk, **BY)
        assert (invoice.discount, invoice.discount_name, invoice.total) == (0, "", 1000)

    def test_a_coupon_is_looked_up_counted_and_used_once(self, client: BillingClient, account: Account) -> None:
        coupon = create_coupon(
            org_id="default", code="TEN", discount_type="percentage", discount_value=Decimal(10), **BY
        )
        body = make(client, {"description": "One", "amount": 1005})
        path = f"{INVOICES}/{body['id']}/apply-discount"
        taken = client.post(path, {"coupon_code": "ten"}).json()
        assert (taken["discount"], taken["discount_name"], holds(taken)) == (101, "TEN", True)  # 100.5 rounds up
        coupon.refresh_from_db()
        assert coupon.redemption_count == 1
        used = CouponRedemption.objects.get()
        assert (used.document_id, used.subscription, used.account) == (body["id"], None, account)
        again = problem(client.post(path, {"coupon_id": coupon.public_id}), "coupon_not_applicable", 422)
        assert again["reason"] == "already_redeemed"
        unknown = problem(client.post(path, {"coupon_code": "NONE"}), "coupon_not_applicable", 422)
        assert unknown["reason"] == "unknown_code"
        problem(client.post(path, {}), "validation_failed", 400)
        problem(client.post(path, {"coupon_code": "TEN", "discount_amount": 1}), "validation_failed", 400)


class TestPaying:
    @pytest.fixture
    def invoice(self, client: BillingClient, account: Account) -> dict[str, Any]:
        """INV-0001 over 100.00, issued before there was any money."""
        body = make(client, {"description": "Set-up", "amount": 10_000})
        return dict(client.post(f"{INVOICES}/{body['id']}/finalize", {}).json())

    def test_every_source_in_turn_each_partial(
        self, client: BillingClient, account: Account, invoice: dict[str, Any]
    ) -> None:
        path = f"{INVOICES}/{invoice['id']}/pay"
        nothing = client.post(path, {}).json()
        assert nothing["collection"]["success"] is False
        assert nothing["collection"]["amount_charged"] == 0
        assert "100.00 USD remains" in nothing["collection"]["error"]
        assert (nothing["invoice"]["attempt_count"], nothing["invoice"]["status"]) == (1, "open")
        money: dict[str, Any] = {"account": account, "currency": "usd", **BY}
        grant_credit(amount=2500, **money)
        adjust_invoice_credit(amount=1000, description="sorry", **money)
        deposit(amount=500, **money)
        part = client.post(path, {}).json()
        assert (part["collection"]["credit_used"], part["collection"]["balance_used"]) == (2500, 1500)
        assert (part["invoice"]["amount_paid"], part["invoice"]["is_partially_paid"]) == (4000, True)
        deposit(amount=9000, **money)
        rest = client.post(path, {}).json()
        assert rest["collection"] == {
            "success": True,
            "credit_used": 0,
            "balance_used": 6000,
            "provider_used": 0,
            "provider_ref": None,
            "amount_charged": 6000,
            "error": None,
        }
        paid = rest["invoice"]
        assert (paid["status"], paid["payment_method"], paid["attempt_count"]) == ("paid", "balance", 3)
        assert paid["last_attempt_at"] == "2023-11-01T10:00:00Z"
        assert problem(client.post(path, {}), "invalid_state", 409)["current_status"] == "paid"
        assert LedgerAccount.objects.get(kind="receivable").balance == 0
        types = Event.objects.filter(object_id=invoice["id"]).order_by("id").values_list("type", flat=True)
        assert list(types)[-4:] == [
            "invoice.payment_failed",
            "invoice.partially_paid",
            "invoice.payment_failed",
            "invoice.paid",
        ]

    def test_a_repeat_with_its_key_takes_nothing_twice(
        self, client: BillingClient, account: Account, invoice: dict[str, Any]
    ) -> None:
        deposit(account=account, amount=4000, currency="usd", **BY)
        path, key = f"{INVOICES}/{invoice['id']}/pay", {"Idempotency-Key": "once"}
        first = client.post(path, {}, headers=key)
        deposit(account=account, amount=4000, currency="usd", **BY)
        assert client.post(path, {}, headers=key).json() == first.json()
        assert find(invoice).amount_paid == 4000

    def test_a_member_pays_its_own_a_reader_does_not(
        self, api_client: Clients, account: Account, invoice: dict[str, Any]
    ) -> None:
        Member.objects.create(account=account, user_id="ann", role="admin", added_at=world.NOVEMBER)
        Member.objects.create(account=account, user_id="ray", role="member", added_at=world.NOVEMBER)
        deposit(account=account, amount=10_000, currency="usd", **BY)
        path = f"{INVOICES}/{invoice['id']}/pay"
        problem(api_client(audience="public", subject="ray").post(path, {}), "account_forbidden", 403)
        problem(api_client(audience="public", subject="bob").post(path, {}), "not_found", 404)
        problem(
            api_client(audience="public", subject="ann").post(path, {"payment_method_id": "pm_1"}), "not_found", 404
        )
        assert api_client(audience="public", subject="ann").post(path, {}).json()["collection"]["success"] is True

    def test_finalizing_can_collect_at_once(self, client: BillingClient, account: Account) -> None:
        body = make(client, {"description": "x", "amount": 700})
        deposit(account=account, amount=500, currency="usd", **BY)
        issued = client.post(f"{INVOICES}/{body['id']}/finalize", {"collect": True}).json()
        # Stored money pays when it is issued; the attempt comes right after the answer.
        assert (issued["credit_applied"], issued["amount_due"], issued["attempt_count"]) == (500, 200, 0)
        assert collect_due(at=clock.now(account)) == 1
        assert find(issued).attempt_count == 1
