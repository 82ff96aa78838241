"""The portal's first screens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from accounts.models import Account, Subscription
from accounts.services.adjustments import adjust_invoice_credit
from billing_site.kernel import clock
from invoicing.services.invoices import void_invoice
from tests.factories.payment_methods import make_payment_method
from tests.support import world
from tests.support.api import make_client
from tests.support.problems import problem

pytestmark = pytest.mark.django_db

PATH = "/api/v1/billing/portal"


@pytest.fixture(autouse=True)
def _november() -> Iterator[None]:
    with clock.travel(world.NOVEMBER):
        yield


@pytest.fixture
def account() -> Account:
    world.publish()
    account = world.open_account("acme/shop")
    world.subscribe(account, "pro")
    world.subscribe(account, "free")
    return account


def show(what: str, *, subject: str = "acme/shop", **query: Any) -> Any:
    response = make_client("public", subject).get(f"{PATH}/{what}", query)
    assert response.status_code == 200, response.content
    return response.json()


class TestOverview:
    def test_shows_credit_and_what_runs(self, account: Account) -> None:
        adjust_invoice_credit(
            account=account, amount=250, currency="eur", description="goodwill", at=world.NOVEMBER, actor=world.TESTER
        )
        ended = Subscription.objects.get(account=account, plan_version__plan__key="free")
        Subscription.objects.filter(pk=ended.pk).update(status="canceled", ended_at=world.NOVEMBER)
        make_payment_method(account)
        assert show("overview", currency="EUR") == {
            "account_id": account.public_id,
            "balance": 250,
            "currency": "eur",
            "active_subscriptions": 1,
            "payment_methods": 1,
        }
        assert (show("overview")["currency"], show("overview")["balance"]) == ("usd", 0)

    def test_needs_a_currency_that_is_offered(self, account: Account) -> None:
        answer = make_client().get(f"{PATH}/overview", {"account": "acme/shop", "currency": "xxq"})
        problem(answer, "currency_unsupported", 400)


class TestInvoices:
    def test_are_short_and_come_in_pages(self, account: Account) -> None:
        world.run_cycle(as_of=world.DECEMBER, org_id="acme")
        newest, first = reversed([row for row in world.list_invoices() if row.total])
        page = show("invoices", limit=1)
        assert page["items"] == [
            {
                "id": newest.public_id,
                "number": newest.number,
                "number_str": newest.number_text,
                "status": "open",
                "amount_due": 1000,
                "currency": "usd",
                "created_at": newest.created_at.isoformat().replace("+00:00", "Z"),
            }
        ]
        rest = show("invoices", limit=10, cursor=page["next_cursor"])
        assert (rest["items"][-1]["id"], rest["has_more"]) == (first.public_id, False)

    def test_leave_drafts_out_for_services_too(self, account: Account) -> None:
        (invoice, *_) = [row for row in world.list_invoices() if row.total]
        void_invoice(invoice_id=invoice.pk, at=world.NOVEMBER, actor=world.TESTER, reason="mistake")
        listed = make_client().get(f"{PATH}/invoices", {"account": "acme/shop"}).json()["items"]
        assert {row["status"] for row in listed} <= {"void", "paid", "open"}
        assert invoice.public_id in [row["id"] for row in listed]


class TestSubscriptions:
    def test_are_short(self, account: Account) -> None:
        free, pro = show("subscriptions")["items"]
        stored = Subscription.objects.get(plan_version__plan__key="pro")
        assert pro == {
            "id": stored.public_id,
            "plan_id": "pro",
            "status": "active",
            "period_start": "2023-11-01T00:00:00Z",
            "period_end": "2023-12-01T00:00:00Z",
            "created_at": stored.created_at.isoformat().replace("+00:00", "Z"),
        }
        assert free["plan_id"] == "free"


class TestAll:
    @pytest.mark.parametrize(("what", "queries"), [("overview", 4), ("invoices", 2), ("subscriptions", 2)])
    def test_need_the_same_few_queries_for_any_number(
        self, account: Account, what: str, queries: int, django_assert_num_queries: Any
    ) -> None:
        world.run_cycle(as_of=world.DECEMBER, org_id="acme")
        client = make_client()
        with django_assert_num_queries(queries):
            assert client.get(f"{PATH}/{what}", {"account": account.public_id}).status_code == 200

    @pytest.mark.parametrize("what", ["overview", "invoices", "subscriptions"])
    def test_need_an_account_that_is_the_callers(self, account: Account, what: str) -> None:
        problem(make_client().get(f"{PATH}/{what}"), "account_required", 400)
        problem(make_client("public", "eve").get(f"{PATH}/{what}", {"account": "acme/shop"}), "account_forbidden", 403)
        problem(make_client(org="globex").get(f"{PATH}/{what}", {"account": "acme/shop"}), "not_found", 404)
