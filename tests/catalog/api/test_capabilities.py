"""What an installation says of itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from catalog.pricing.engine import MODELS
from tests.factories.catalog import make_meter, make_rule, make_tax_rate, publish_catalog
from tests.support.api import BillingClient
from tests.support.problems import problem

pytestmark = pytest.mark.django_db

URL = "/api/v1/billing/capabilities"
Clients = Callable[..., BillingClient]
PAGES = {"checkout", "customer_portal"}
MONEY = {"disputes", "payments", "payouts", "refunds", "top_ups"}


def get(api_client: Clients, **token: Any) -> dict[str, Any]:
    response = api_client(**token).get(URL)
    assert response.status_code == 200, response.content
    body: dict[str, Any] = response.json()
    return body


class TestCapabilities:
    def test_name_what_is_installed(self, api_client: Clients) -> None:
        body = get(api_client, audience="public")
        assert set(body) == {
            "payment_methods",
            "currencies",
            "features",
            "billing_models",
            "tax_calculation",
            "bank_transfer_reconciliation",
        }
        assert {"accounts", "invoices", "prepaid_balance", "subscriptions", "usage_metering"} <= set(body["features"])
        assert "balance" in body["payment_methods"]

    def test_a_feature_without_routes_is_not_offered(
        self, api_client: Clients, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("catalog.api.capabilities.list_operations", lambda: frozenset({"coupon_redeem"}))
        body = get(api_client)
        assert (body["features"], body["payment_methods"]) == (["coupons"], [])
        assert body["bank_transfer_reconciliation"] is False

    def test_billing_models_are_those_of_the_engine(self, api_client: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
        models = get(api_client)["billing_models"]
        assert {"flat_rate", "per_seat", "metered", "tiered", "volume", "hybrid", "package", "stairstep"} <= set(models)
        monkeypatch.delitem(MODELS, "volume")
        assert "volume" not in get(api_client)["billing_models"]

    def test_currencies_are_the_catalogs(self, api_client: Clients) -> None:
        assert get(api_client)["currencies"] == []
        publish_catalog()
        assert get(api_client)["currencies"] == ["eur", "usd"]
        make_meter()
        make_rule("gpu_seconds", currency="chf", org_id="default")
        assert get(api_client)["currencies"] == ["chf", "eur", "usd"]

    def test_or_the_configured_ones(self, api_client: Clients, settings: Any) -> None:
        publish_catalog()
        settings.BILLING_CURRENCIES = ["USD", "jpy"]
        assert get(api_client)["currencies"] == ["jpy", "usd"]

    def test_tax_is_calculated_where_a_rate_is_defined(self, api_client: Clients) -> None:
        assert get(api_client)["tax_calculation"] is False
        make_tax_rate(org_id="acme")
        assert get(api_client)["tax_calculation"] is False
        assert get(api_client, org="acme")["tax_calculation"] is True

    @pytest.mark.parametrize(("livemode", "key", "expected"), [(False, "", True), (True, "", False), (True, "x", True)])
    def test_cards_need_a_provider(
        self,
        api_client: Clients,
        settings: Any,
        monkeypatch: pytest.MonkeyPatch,
        livemode: bool,
        key: str,
        expected: bool,
    ) -> None:
        monkeypatch.setattr("catalog.api.capabilities.list_operations", lambda: frozenset({"payment_method_create"}))
        settings.BILLING_LIVEMODE, settings.STRIPE_LIVE_SECRET_KEY = livemode, key
        assert ("card" in get(api_client)["payment_methods"]) is expected

    @pytest.mark.parametrize(
        ("provider", "livemode", "key", "absent"),
        [
            ("local", False, "", {"stripe"}),
            ("stripe", False, "", {"stripe", *PAGES}),
            ("stripe", False, "k", set()),
            ("local", True, "", {"stripe", *PAGES, *MONEY}),
            ("local", True, "k", PAGES),
            ("stripe", True, "k", set()),
        ],
    )
    def test_money_is_moved_where_a_provider_can_be_asked(
        self, api_client: Clients, settings: Any, provider: str, livemode: bool, key: str, absent: set[str]
    ) -> None:
        settings.BILLING_PAYMENT_PROVIDER, settings.BILLING_LIVEMODE = provider, livemode
        settings.STRIPE_TEST_SECRET_KEY, settings.STRIPE_LIVE_SECRET_KEY = ("", key) if livemode else (key, "")
        body = get(api_client)
        asked = {"stripe", *PAGES, *MONEY}
        assert asked - set(body["features"]) == absent
        assert "bank_transfers" in body["features"]
        assert body["bank_transfer_reconciliation"] is True

    @pytest.mark.parametrize(
        ("stripe", "local", "expected"), [([], [], False), (["whsec_a"], [], True), ([], ["whsec_b"], True)]
    )
    def test_webhooks_are_taken_where_a_door_has_a_secret(
        self, api_client: Clients, settings: Any, stripe: list[str], local: list[str], expected: bool
    ) -> None:
        settings.BILLING_STRIPE_WEBHOOK_SECRETS, settings.BILLING_LOCAL_WEBHOOK_SECRETS = stripe, local
        features = get(api_client)["features"]
        assert ("inbound_webhooks" in features) is expected
        assert "webhooks" not in features  # none are sent out yet

    def test_need_the_scope(self, api_client: Clients) -> None:
        problem(api_client(scopes=["usage:read"]).get(URL), "scope_missing", 403)
