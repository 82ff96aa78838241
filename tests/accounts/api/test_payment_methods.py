"""Payment methods over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from accounts.models import Account, PaymentMethod, PaymentMethodStatus
from accounts.queries.ledger import get_balance
from billing_site.kernel import clock
from billing_site.platform.models import Event
from tests.factories.accounts import AT, make_account, make_member, make_subscription, publish_catalog
from tests.factories.payment_methods import make_payment_method
from tests.support.api import BillingClient, make_client
from tests.support.jobs import SentJobs
from tests.support.problems import findings, problem

pytestmark = pytest.mark.django_db

PATH = "/api/v1/billing/payment-methods"


@pytest.fixture(autouse=True)
def _noon() -> Iterator[None]:
    with clock.travel(AT):
        yield


@pytest.fixture
def account() -> Account:
    return make_account("acme/shop")


@pytest.fixture
def client() -> BillingClient:
    return make_client()


def of(method: PaymentMethod) -> str:
    return f"{PATH}/{method.public_id}"


def default_of(account: Account) -> str:
    return f"/api/v1/billing/customers/{account.external_id}/default-payment-method"


class TestAttaching:
    def test_answers_the_method(self, client: BillingClient, account: Account) -> None:
        body = {
            "account": "ACME/shop",
            "provider_ref": "tok_visa",
            "billing_address": {"line1": "Weg 1", "country": "de"},
            "metadata": {"order": "1"},
        }
        response = client.post(PATH, body)
        assert response.status_code == 201, response.content
        shown = response.json()
        method = PaymentMethod.objects.get()
        assert shown == {
            "id": method.public_id,
            "account_id": account.public_id,
            "type": "card",
            "is_default": True,
            "name": "Visa ending in 4242",
            "card": {
                "brand": "visa",
                "last4": "4242",
                "exp_month": 12,
                "exp_year": 2034,
                "funding": "credit",
                "country": "US",
            },
            "bank_account": None,
            "billing_address": {
                "line1": "Weg 1",
                "line2": "",
                "city": "",
                "state": "",
                "postal_code": "",
                "country": "DE",
            },
            "provider_type": "local",
            "provider_ref": method.provider_ref,
            "metadata": {"order": "1"},
            "created_at": method.created_at.isoformat().replace("+00:00", "Z"),
        }
        assert method.provider_ref.startswith("pm_local_visa_")
        assert client.get(of(method)).json() == shown

    def test_says_the_providers_name_to_services_only(self, account: Account) -> None:
        person = make_client("public", "acme/shop")
        assert "provider_ref" not in person.post(PATH, {"provider_ref": "tok_visa"}).json()
        (listed,) = person.get(PATH).json()["items"]
        assert "provider_ref" not in listed
        events = person.get("/api/v1/billing/events").content.decode()
        assert "payment_method.attached" in events
        assert PaymentMethod.objects.get().provider_ref not in events

    @pytest.mark.parametrize(
        ("token", "sentence"),
        [
            ("tok_insufficient_funds", "The card has insufficient funds."),
            ("tok_limit_reached", "The card has reached its limit."),
            ("tok_address_mismatch", "The billing address does not match the card."),
            ("tok_incorrect_cvc", "The security code is wrong."),
            ("tok_expired", "The card has expired."),
            ("tok_invalid_number", "The card number is not valid."),
            ("tok_lost_card", "The card was declined; please contact your bank."),
            ("tok_chargeDeclined", "The card was declined by the bank."),
            ("tok_do_not_honor", "The card was declined by the bank."),
            ("tok_unverifiable", "The card could not be verified."),
        ],
    )
    def test_says_in_one_sentence_why_a_card_is_declined(
        self, client: BillingClient, account: Account, token: str, sentence: str
    ) -> None:
        answer = client.post(PATH, {"account": "acme/shop", "provider_ref": token})
        shown = problem(answer, "card_verification_failed", 402)
        assert (shown["decline_reason"], shown["retryable"]) == (sentence, False)
        assert client.get(PATH, {"account": "acme/shop"}).json()["items"] == []

    def test_says_when_the_provider_does_not_answer(self, client: BillingClient, account: Account) -> None:
        answer = client.post(PATH, {"account": "acme/shop", "provider_ref": "tok_timeout"})
        assert problem(answer, "provider_unavailable", 503)["retryable"] is True
        assert "Retry-After" in answer

    @pytest.mark.parametrize(
        ("body", "found"),
        [
            ({}, ("/provider_ref", "required")),
            ({"provider_ref": "tok_visa", "type": "cash"}, ("/type", "invalid_choice")),
            ({"provider_ref": "tok_visa", "number": "x"}, ("/number", "unknown")),
            ({"provider_ref": "tok_visa", "card": {"last4": "42"}}, ("/card/last4", "invalid")),
            ({"provider_ref": "tok_visa", "card": {"exp_month": 13}}, ("/card/exp_month", "max_value")),
            ({"provider_ref": "tok_visa", "bank_account": {"last4": "6789"}}, ("/bank_account", "not_applicable")),
            (
                {"provider_ref": "tok_visa", "billing_address": {"country": "xx"}},
                ("/billing_address/country", "invalid"),
            ),
            ({"provider_ref": "btok_us"}, ("/provider_ref", "token_rejected")),
        ],
    )
    def test_points_at_what_is_wrong(
        self, client: BillingClient, account: Account, body: dict[str, Any], found: tuple[str, str]
    ) -> None:
        answer = client.post(PATH, {"account": "acme/shop", **body})
        assert findings(problem(answer, "validation_failed", 400)) == [found]
        assert not PaymentMethod.objects.filter(status=PaymentMethodStatus.ATTACHED).exists()

    def test_needs_an_account_and_a_provider(self, client: BillingClient, account: Account) -> None:
        problem(client.post(PATH, {"provider_ref": "tok_visa"}), "account_required", 400)
        body = {"account": "acme/shop", "provider_ref": "tok_visa", "provider_type": "paypal"}
        problem(client.post(PATH, body), "no_processor_available", 422)

    def test_brings_the_starter_credit_in_the_background(
        self,
        client: BillingClient,
        account: Account,
        sent_jobs: SentJobs,
        django_capture_on_commit_callbacks: Any,
    ) -> None:
        with django_capture_on_commit_callbacks(execute=True):
            assert client.post(PATH, {"account": "acme/shop", "provider_ref": "tok_visa"}).status_code == 201
        assert get_balance(account_id=account.pk, currency="usd").balance == 0
        sent_jobs.run()
        assert get_balance(account_id=account.pk, currency="usd").balance == 500
        claim = client.post("/api/v1/billing/credit", {"account": "acme/shop"})
        problem(claim, "starter_credit_already_granted", 409)


class TestRepeats:
    def test_of_a_key_attach_once(self, client: BillingClient, account: Account) -> None:
        body, headers = {"account": "acme/shop", "provider_ref": "tok_visa"}, {"Idempotency-Key": "card-1"}
        first = client.post(PATH, body, headers=headers)
        again = client.post(PATH, body, headers=headers)
        assert (again.status_code, again.json()) == (201, first.json())
        assert ("Idempotent-Replayed" in first, again["Idempotent-Replayed"]) == (False, "true")
        assert PaymentMethod.objects.count() == 1
        assert Event.objects.filter(type="payment_method.attached").count() == 1

    def test_of_a_key_decline_again_without_asking_again(self, client: BillingClient, account: Account) -> None:
        for _ in range(2):
            body, headers = {"account": "acme/shop", "provider_ref": "tok_expired"}, {"Idempotency-Key": "card-1"}
            problem(client.post(PATH, body, headers=headers), "card_verification_failed", 402)
        assert PaymentMethod.objects.count() == 1

    def test_with_another_body_are_refused(self, client: BillingClient, account: Account) -> None:
        headers = {"Idempotency-Key": "card-1"}
        client.post(PATH, {"account": "acme/shop", "provider_ref": "tok_visa"}, headers=headers)
        answer = client.post(PATH, {"account": "acme/shop", "provider_ref": "tok_amex"}, headers=headers)
        problem(answer, "idempotency_key_reused", 422)


class TestListing:
    def test_shows_the_default_first_then_the_newest_in_pages(self, client: BillingClient, account: Account) -> None:
        first, second, third = (make_payment_method(account) for _ in range(3))
        make_payment_method(make_account())
        client.post(default_of(account), {"payment_method_id": second.public_id})
        expected = [method.public_id for method in (second, third, first)]
        for path in (PATH, "/api/v1/billing/portal/payment-methods"):
            for limit in (1, 2, 3):
                seen, cursor = [], ""
                while True:
                    query = {"account": "acme/shop", "limit": limit, **({"cursor": cursor} if cursor else {})}
                    page = client.get(path, query).json()
                    seen += [row["id"] for row in page["items"]]
                    cursor = page["next_cursor"]
                    if not page["has_more"]:
                        break
                assert seen == expected

    def test_covers_every_account_of_a_service(self, client: BillingClient, account: Account) -> None:
        mine = [make_payment_method(account) for _ in range(2)]
        other = make_account("globex/x")
        theirs = [make_payment_method(other) for _ in range(2)]
        page = client.get(PATH, {"limit": 3}).json()
        rest = client.get(PATH, {"limit": 3, "cursor": page["next_cursor"]}).json()
        found = [row["id"] for row in (*page["items"], *rest["items"])]
        assert found == [method.public_id for method in (theirs[0], mine[0], theirs[1], mine[1])]
        limited = make_client(org="globex").get(PATH).json()["items"]
        assert {row["id"] for row in limited} == {method.public_id for method in theirs}

    def test_filters_by_type_and_refuses_a_foreign_cursor(self, client: BillingClient, account: Account) -> None:
        make_payment_method(account)
        bank = make_payment_method(account, "btok_us", type="bank_account")
        (found,) = client.get(PATH, {"type": "bank_account"}).json()["items"]
        assert (found["id"], found["card"]) == (bank.public_id, None)
        assert found["bank_account"]["last4"] == "6789"
        for cursor in ("x", "a", "axyz"):
            problem(client.get(PATH, {"cursor": cursor}), "validation_failed", 400)

    def test_needs_the_same_queries_for_any_number(
        self, client: BillingClient, account: Account, django_assert_num_queries: Any
    ) -> None:
        for _ in range(4):
            make_payment_method(account)
        with django_assert_num_queries(2):
            assert len(client.get(PATH, {"account": account.public_id}).json()["items"]) == 4


class TestChanging:
    def test_takes_address_and_metadata_only(self, client: BillingClient, account: Account) -> None:
        method = make_payment_method(account)
        shown = client.patch(of(method), {"billing_address": {"city": "Bonn"}, "metadata": {"a": 1}}).json()
        assert (shown["billing_address"]["city"], shown["metadata"]) == ("Bonn", {"a": 1})
        for body, pointer in (({"card": {}}, "/card"), ({"is_default": True}, "/is_default"), ({}, "")):
            (found,) = findings(problem(client.patch(of(method), body), "validation_failed", 400))
            assert found[0] == pointer


class TestDetaching:
    def test_answers_once_and_hides_the_method(self, client: BillingClient, account: Account) -> None:
        method = make_payment_method(account)
        response = client.delete(of(method))
        assert (response.status_code, response.json()) == (200, {"id": method.public_id, "deleted": True})
        assert PaymentMethod.objects.get().status == PaymentMethodStatus.DETACHED
        for answer in (client.delete(of(method)), client.get(of(method)), client.patch(of(method), {"metadata": {}})):
            assert problem(answer, "not_found", 404)["object_type"] == "payment_method"

    def test_names_the_next_default(self, client: BillingClient, account: Account) -> None:
        first, second, _third = (make_payment_method(account) for _ in range(3))
        foreign = make_payment_method(make_account())
        problem(client.delete(f"{of(first)}?new_default={foreign.public_id}"), "not_found", 404)
        assert client.delete(f"{of(first)}?new_default={second.public_id}").status_code == 200
        assert client.get(of(second)).json()["is_default"] is True

    def test_keeps_the_only_one_of_a_paying_account_unless_a_service_forces_it(
        self, client: BillingClient, account: Account
    ) -> None:
        publish_catalog("acme")
        method = make_payment_method(account)
        make_subscription(account, "pro")
        person = make_client("public", "acme/shop")
        problem(person.delete(of(method)), "last_payment_method", 409)
        assert findings(problem(person.delete(f"{of(method)}?force=true"), "validation_failed", 400)) == [
            ("force", "internal_only")
        ]
        assert client.delete(f"{of(method)}?force=true").status_code == 200


class TestChoosingTheDefault:
    def test_answers_the_method_once_per_key(self, client: BillingClient, account: Account) -> None:
        first, second = make_payment_method(account), make_payment_method(account)
        headers = {"Idempotency-Key": "choose"}
        body = {"payment_method_id": second.public_id}
        answers = [client.post(default_of(account), body, headers=headers) for _ in range(2)]
        assert [answer.json()["is_default"] for answer in answers] == [True, True]
        assert answers[1]["Idempotent-Replayed"] == "true"
        assert client.get(of(first)).json()["is_default"] is False
        assert Event.objects.filter(type="payment_method.default_changed").count() == 1

    @pytest.mark.parametrize("which", ["foreign", "detached", "unknown"])
    def test_changes_nothing_for_a_method_that_is_not_there(
        self, client: BillingClient, account: Account, which: str
    ) -> None:
        kept, gone = make_payment_method(account), make_payment_method(account)
        client.delete(of(gone))
        foreign = make_payment_method(make_account())
        reference = {"foreign": foreign.public_id, "detached": gone.public_id, "unknown": "pm_x"}[which]
        problem(client.post(default_of(account), {"payment_method_id": reference}), "not_found", 404)
        assert client.get(of(kept)).json()["is_default"] is True


class TestPeople:
    def test_members_look_and_admins_write(self, account: Account) -> None:
        method = make_payment_method(account)
        make_member(account, "bob")
        bob, eve = make_client("public", "bob"), make_client("public", "eve")
        assert bob.get(of(method)).status_code == 200
        problem(bob.delete(of(method)), "account_forbidden", 403)
        problem(bob.post(default_of(account), {"payment_method_id": method.public_id}), "account_forbidden", 403)
        problem(bob.post(PATH, {"account": "acme/shop", "provider_ref": "tok_visa"}), "account_forbidden", 403)
        problem(eve.get(of(method)), "not_found", 404)
        problem(eve.get(PATH, {"account": "acme/shop"}), "account_forbidden", 403)


class TestSubscribing:
    def test_with_a_method_of_the_account(self, client: BillingClient, account: Account) -> None:
        publish_catalog("acme")
        body = {"account": "acme/shop", "plan_id": "pro"}
        foreign = make_payment_method(make_account())
        path = "/api/v1/billing/subscriptions"
        wrong = client.post(path, {**body, "default_payment_method": foreign.public_id})
        assert problem(wrong, "not_found", 404)["object_type"] == "payment_method"
        method = make_payment_method(account)
        shown = client.post(path, {**body, "default_payment_method": method.public_id}).json()
        assert shown["default_payment_method"] == method.public_id

    def test_needs_one_where_the_site_asks_for_it(self, client: BillingClient, account: Account, settings: Any) -> None:
        settings.BILLING_REQUIRE_PAYMENT_METHOD = True
        publish_catalog("acme")
        path, body = "/api/v1/billing/subscriptions", {"account": "acme/shop", "plan_id": "pro"}
        problem(client.post(path, body), "payment_method_missing", 422)
        make_payment_method(account)
        assert client.post(path, body).status_code == 201
