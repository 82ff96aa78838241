"""billing setup, portal, customer portal, payment add, webhook test: addresses to open or to configure."""

from __future__ import annotations

import pytest

from tests.billing_client.conftest import Billing
from tests.billing_client.service import Reply, Service, problem

ADDRESS = "https://pay.example.com/p/" + "x" * 200
PAGE = Reply(200, {"url": ADDRESS, "provider": "stripe", "expires_at": None})
UNKNOWN = problem(409, "provider_customer_missing", "No customer.", next_action="setup_billing")
SHUT = problem(404, "provider_unknown", "No payment provider of this name sends events here.")
OPEN = problem(400, "webhook_signature_missing", "No signature.")


class TestPortal:
    @pytest.mark.parametrize("words", [["portal"], ["customer", "portal"], ["customer", "portal", "--url"]])
    def test_is_one_line(self, billing: Billing, service: Service, words: list[str]) -> None:
        service.fail_next(PAGE, path="/portal-session")
        outcome = billing(*words, "--return-url=https://app.example.com/back")
        assert (outcome.code, outcome.out) == (0, f"{ADDRESS}\n")
        assert ("Portal session created" in outcome.err) is (words == ["customer", "portal"])
        assert service.requests[0].data == {"return_url": "https://app.example.com/back"}

    def test_of_a_named_account_and_the_application_s_own_return(
        self, billing: Billing, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("BILLING_BASE_URL", "https://app.example.com/")
        service.fail_next(PAGE, path="/stripe/portal")
        assert billing("portal", "--account=acc_7", "--format=json").data["url"] == ADDRESS
        assert service.requests[0].data == {"account": "acc_7", "return_url": "https://app.example.com/billing"}

    def test_needs_a_setup_first(self, billing: Billing, service: Service) -> None:
        service.fail_next(UNKNOWN, path="/portal-session")
        assert billing("portal").err == "Error: billing is not set up\nHint: billing setup\n"
        service.fail_next(UNKNOWN, path="/stripe/portal")
        outcome = billing("portal", "--account=acc_7")
        assert (outcome.code, outcome.err) == (1, "Error: billing is not set up\nHint: billing setup --plan=…\n")


class TestSetup:
    def test_for_a_plan_or_a_feature(self, billing: Billing, service: Service) -> None:
        service.fail_next(PAGE, PAGE, PAGE, path="/checkout-session")
        for words in ([], ["--plan=pro", "--feature=llm:proxy"], ["--feature=llm:proxy"]):
            assert billing("setup", *words).out == f"{ADDRESS}\n"
        assert [each.data for each in service.requests] == [{}, {"plan_id": "pro"}, {"feature": "llm:proxy"}]

    def test_of_a_named_account_needs_the_plan(self, billing: Billing, service: Service) -> None:
        assert billing("setup", "--account=acc_7").code == 2
        assert service.requests == []
        service.fail_next(PAGE, path="/stripe/checkout")
        assert billing("setup", "--account=acc_7", "--plan=pro").code == 0
        assert service.requests[0].data == {"account": "acc_7", "plan_id": "pro"}

    def test_an_unknown_plan_is_said(self, billing: Billing, service: Service) -> None:
        missing = problem(404, "plan_not_found", "No.")
        service.fail_next(missing, missing, path="/checkout-session")
        assert billing("setup", "--plan=x").err.startswith("Error: plan not found: x\nHint: billing plan list")
        outcome = billing("setup", "--feature=x")
        assert (outcome.code, outcome.err.splitlines()[0]) == (1, "Error: no plan offers x")


class TestAdd:
    def test_prints_the_page_and_asks_for_nothing(self, billing: Billing, service: Service) -> None:
        service.fail_next(PAGE, path="/portal-session")
        outcome = billing("payment", "add")
        assert (outcome.code, outcome.out) == (0, f"{ADDRESS}\n")
        assert "Open this page" in outcome.err

    def test_takes_no_card(self, billing: Billing, service: Service) -> None:
        assert billing("payment", "add", "4242424242424242").code == 2
        assert service.requests == []

    def test_the_first_one_is_entered_on_the_setup_page(self, billing: Billing, service: Service) -> None:
        service.fail_next(UNKNOWN, path="/portal-session")
        service.fail_next(PAGE, path="/checkout-session")
        assert billing("payment", "add", "--account=acme/alice").out == f"{ADDRESS}\n"

    def test_of_another_account_says_what_to_do(self, billing: Billing, service: Service) -> None:
        service.fail_next(UNKNOWN, path="/stripe/portal")
        outcome = billing("payment", "add", "--account=acc_7")
        assert (outcome.code, outcome.out) == (1, "")
        assert "Hint: billing setup --plan=…" in outcome.err


class TestDoctor:
    @pytest.mark.parametrize(
        ("features", "said"), [(["payments"], "can be taken"), ([], "no payment provider can be asked")]
    )
    def test_tells_whether_payments_can_be_taken(
        self, billing: Billing, service: Service, features: list[str], said: str
    ) -> None:
        service.fail_next(Reply(200, {"currencies": ["usd"], "features": features}), path="/capabilities")
        assert said in billing("doctor").out


class TestWebhook:
    @pytest.mark.parametrize("words", [["webhook"], ["webhook", "test"]])
    def test_prints_the_address_and_sees_the_door(self, billing: Billing, service: Service, words: list[str]) -> None:
        service.fail_next(OPEN, path="/webhooks/stripe")
        service.fail_next(SHUT, path="/webhooks/local")
        outcome = billing(*words)
        assert outcome.code == 0, outcome.err
        assert f"{service.url}/api/v1/billing/webhooks/stripe" in outcome.out
        assert "webhooks/local" not in outcome.out
        assert "open; " in outcome.out
        assert "Webhooks to your own addresses are not part of this version" in outcome.out
        assert "BILLING_STRIPE_WEBHOOK_SECRETS" not in outcome.out

    def test_says_when_it_is_shut(self, billing: Billing, service: Service) -> None:
        service.fail_next(SHUT, path="/webhooks/stripe")
        service.fail_next(OPEN, path="/webhooks/local")
        outcome = billing("webhook", "test", "--format=json")
        assert [(each["provider"], each["open"]) for each in outcome.data["inbound"]] == [
            ("stripe", False),
            ("local", True),
        ]
        service.fail_next(SHUT, SHUT, path="/webhooks/")
        assert "BILLING_STRIPE_WEBHOOK_SECRETS" in billing("webhook").out

    def test_a_door_that_takes_anything_is_an_alarm(self, billing: Billing, service: Service) -> None:
        service.fail_next(Reply(200, {"received": True}), path="/webhooks/")
        outcome = billing("webhook")
        assert outcome.code == 1
        assert "took a message without a signature" in outcome.err
