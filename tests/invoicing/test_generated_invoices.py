"""The invoice of one subscription on request: `POST /tenants/{account_id}/invoices`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accounts.models import Account, Subscription
from accounts.queries.proof import prove_ledger
from accounts.services.deposits import deposit
from billing_site.kernel import clock
from invoicing.models import Invoice
from invoicing.services.collecting import collect_due
from invoicing.services.invoices import finalize_invoice, void_invoice
from invoicing.services.verification import verify_invoice
from tests.support import world
from tests.support.api import make_client
from tests.support.problems import findings, problem

pytestmark = pytest.mark.django_db
MIDDLE = datetime(2023, 11, 16, tzinfo=UTC)
OVER = datetime(2023, 12, 1, 6, tzinfo=UTC)


@pytest.fixture
def now() -> Iterator[Any]:
    with clock.travel(MIDDLE) as travelled:
        yield travelled


@pytest.fixture
def account(now: Any) -> Account:
    world.publish(input_price="10", output_price="20")
    return world.open_account()


@pytest.fixture
def subscription(account: Account) -> Subscription:
    subscription = world.subscribe(account, "payg")
    world.use(account, "input_tokens", [3, 4], at=MIDDLE - timedelta(days=1))
    return subscription


def generate(account: Account, subscription: Subscription, **body: Any) -> Any:
    door = f"/api/v1/billing/tenants/{account.public_id}/invoices"
    return make_client().post(door, {"subscription_id": subscription.public_id, **body})


class TestARunningPeriod:
    def test_is_drafted_once_and_deducted_when_it_closes(self, account: Account, subscription: Subscription) -> None:
        response = generate(account, subscription)
        shown = response.json()
        assert (response.status_code, shown["status"], shown["number"], shown["subtotal"]) == (201, "draft", None, 70)
        assert shown["subscription_id"] == subscription.public_id
        refused = problem(generate(account, subscription), "period_already_invoiced", 409)
        assert refused["invoice_id"] == shown["id"]
        draft = Invoice.objects.get()
        assert verify_invoice(draft, check_usage=True).differences == []
        finalize_invoice(invoice_id=draft.pk, at=MIDDLE, actor=world.TESTER)
        world.use(account, "input_tokens", [5], at=MIDDLE + timedelta(days=1), key="later")
        world.run_cycle(as_of=world.DECEMBER)
        assert [invoice.total for invoice in world.list_invoices()] == [70, 50]
        assert prove_ledger().holds

    def test_is_free_again_when_the_draft_is_void(self, account: Account, subscription: Subscription) -> None:
        generate(account, subscription)
        void_invoice(invoice_id=Invoice.objects.get().pk, at=MIDDLE, actor=world.TESTER)
        assert generate(account, subscription).json()["subtotal"] == 70

    def test_whose_fee_was_billed_has_its_usage(self, account: Account) -> None:
        subscription = world.subscribe(account, "pro")
        started = Invoice.objects.get()
        refused = problem(generate(account, subscription), "period_already_invoiced", 409)
        assert refused["invoice_id"] == started.public_id
        world.use(account, "input_tokens", [3], at=MIDDLE - timedelta(days=1))
        assert generate(account, subscription).json()["subtotal"] == 30

    def test_in_which_nothing_was_used_owes_nothing(self, account: Account) -> None:
        problem(generate(account, world.subscribe(account, "payg")), "invalid_state", 409)
        assert not Invoice.objects.exists()


class TestAPeriodThatIsOver:
    @pytest.mark.parametrize(("finalize", "status"), [(False, "draft"), (True, "open")])
    def test_is_billed_as_by_a_run(self, account: Account, now: Any, finalize: bool, status: str) -> None:
        subscription = world.subscribe(account, "pro")
        world.use(account, "input_tokens", [3], at=MIDDLE)
        with clock.travel(OVER):
            shown = generate(
                account,
                subscription,
                auto_finalize=finalize,
                period_start="2023-11-01T00:00:00Z",
                period_end="2023-12-01T00:00:00Z",
            ).json()
        assert (shown["status"], shown["subtotal"], len(shown["line_items"])) == (status, 1030, 2)
        subscription.refresh_from_db()
        assert (subscription.current_period_start, subscription.next_boundary) == (world.DECEMBER, 2)
        assert world.run_cycle(as_of=OVER).outcomes.count() == 0
        with clock.travel(OVER):
            again = generate(
                account, subscription, period_start="2023-11-01T00:00:00Z", period_end="2023-12-01T00:00:00Z"
            )
        assert problem(again, "period_already_invoiced", 409)["invoice_id"] == shown["id"]

    def test_of_a_group_is_billed_alone(self, account: Account) -> None:
        Account.objects.update(invoice_grouping="account")
        pro = world.subscribe(account, "pro")
        world.subscribe(account, "free")
        with clock.travel(OVER):
            assert generate(account, pro).json()["subscription_ids"] == [pro.public_id]


class TestCollecting:
    def test_takes_balances(self, account: Account, subscription: Subscription) -> None:
        deposit(account=account, amount=100, currency="usd", at=MIDDLE, actor=world.TESTER, key="d")
        shown = generate(account, subscription, auto_finalize=True, collect=True).json()
        assert (shown["status"], shown["amount_due"], shown["credit_applied"]) == ("paid", 0, 70)

    def test_counts_an_attempt_right_after_when_they_do_not(self, account: Account, subscription: Subscription) -> None:
        shown = generate(account, subscription, auto_finalize=True, collect=True).json()
        assert (shown["status"], shown["amount_due"], shown["attempt_count"]) == ("open", 70, 0)
        assert collect_due(at=clock.now(account)) == 1
        assert Invoice.objects.values_list("attempt_count", flat=True).get() == 1

    def test_of_a_draft_is_refused(self, account: Account, subscription: Subscription) -> None:
        refused = problem(generate(account, subscription, collect=True), "validation_failed", 400)
        assert findings(refused) == [("/collect", "needs_auto_finalize")]
        assert not Invoice.objects.exists()


class TestTheDoor:
    def test_finds_only_subscriptions_of_the_account(self, account: Account, subscription: Subscription) -> None:
        other = world.open_account("other")
        problem(generate(other, subscription), "subscription_not_found", 404)
        door = f"/api/v1/billing/tenants/{account.public_id}/invoices"
        problem(make_client().post(door, {"subscription_id": "sub_unknown"}), "subscription_not_found", 404)
        assert findings(problem(make_client().post(door, {}), "validation_failed", 400)) == [
            ("/subscription_id", "required")
        ]

    def test_takes_the_subscription_in_the_query(self, account: Account, subscription: Subscription) -> None:
        door = f"/api/v1/billing/tenants/{account.public_id}/invoices?subscription_id={subscription.public_id}"
        assert make_client().post(door, {}).status_code == 201

    @pytest.mark.parametrize(
        ("body", "finding"),
        [
            ({"period_start": "2023-11-05T00:00:00Z", "period_end": "2023-11-04T00:00:00Z"}, "/period_end"),
            ({"period_start": "2023-10-01T00:00:00Z", "period_end": "2023-11-01T00:00:00Z"}, "/period_start"),
        ],
    )
    def test_refuses_other_periods(
        self, account: Account, subscription: Subscription, body: dict[str, str], finding: str
    ) -> None:
        refused = problem(generate(account, subscription, **body), "validation_failed", 400)
        assert [pointer for pointer, _ in findings(refused)] == [finding]

    def test_happens_once_per_key(self, account: Account, subscription: Subscription) -> None:
        door = f"/api/v1/billing/tenants/{account.public_id}/invoices"
        body = {"subscription_id": subscription.public_id}
        first, again = (make_client().post(door, body, headers={"Idempotency-Key": "once"}) for _ in range(2))
        assert first.json() == again.json()
        assert Invoice.objects.count() == 1

    def test_is_closed_to_a_public_caller(self, account: Account, subscription: Subscription) -> None:
        door = f"/api/v1/billing/tenants/{account.public_id}/invoices"
        response = make_client("public", "alice").post(door, {"subscription_id": subscription.public_id})
        assert response.status_code == 403
