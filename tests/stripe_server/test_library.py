"""The server as Stripe's own library sees it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
import stripe

from tests.stripe_server.server import StripeServer


def connect(server: StripeServer, key: str) -> stripe.StripeClient:
    """Return the library's client; this transport leaves no connection open."""
    return stripe.StripeClient(key, base_addresses={"api": server.url}, http_client=stripe.UrllibClient())


@pytest.fixture
def client(stripe_server: StripeServer) -> stripe.StripeClient:
    return connect(stripe_server, stripe_server.test_key)


def make_product(client: stripe.StripeClient, name: str = "Language models") -> stripe.Product:
    return client.v1.products.create({"name": name, "metadata": {"lookup_key": "llm"}})


def metadata_of(product: stripe.Product) -> dict[str, str]:
    metadata: dict[str, str] = product.to_dict()["metadata"]
    return metadata


class TestBalance:
    def test_tells_the_mode(self, client: stripe.StripeClient) -> None:
        balance = client.v1.balance.retrieve()
        assert (balance.object, balance.livemode) == ("balance", False)
        assert balance.available[0].currency == "usd"


class TestProducts:
    def test_are_made_changed_and_read(self, client: stripe.StripeClient) -> None:
        made = make_product(client)
        assert made.id.startswith("prod_")
        assert (made.name, made.active, made.livemode) == ("Language models", True, False)
        assert metadata_of(made) == {"lookup_key": "llm"}
        client.v1.products.update(made.id, {"name": "Models", "metadata": {"tier": "a"}, "description": "All of them"})
        read = client.v1.products.retrieve(made.id)
        assert (read.name, read.description) == ("Models", "All of them")
        assert metadata_of(read) == {"lookup_key": "llm", "tier": "a"}
        client.v1.products.update(made.id, {"metadata": {"tier": ""}, "description": ""})
        read = client.v1.products.retrieve(made.id)
        assert (metadata_of(read), read.description) == ({"lookup_key": "llm"}, None)

    def test_that_do_not_exist_are_refused(self, client: stripe.StripeClient) -> None:
        with pytest.raises(stripe.InvalidRequestError) as refused:
            client.v1.products.retrieve("prod_none")
        error = refused.value
        assert (error.http_status, error.code, error.param) == (404, "resource_missing", "id")
        assert error.user_message == "No such product: 'prod_none'"

    def test_are_listed_newest_first_in_pages(self, client: stripe.StripeClient) -> None:
        names = [f"P{number}" for number in range(7)]
        for name in names:
            make_product(client, name)
        page = client.v1.products.list({"limit": 3})
        assert [product.name for product in page.data] == ["P6", "P5", "P4"]
        assert page.has_more
        assert [product.name for product in page.auto_paging_iter()] == names[::-1]
        before = client.v1.products.list({"limit": 2, "ending_before": page.data[2].id})
        assert [product.name for product in before.data] == ["P6", "P5"]
        assert not before.has_more

    def test_can_be_deleted_until_they_have_a_price(self, client: stripe.StripeClient) -> None:
        first, second = make_product(client), make_product(client)
        assert client.v1.products.delete(first.id).deleted
        client.v1.prices.create({"product": second.id, "currency": "usd", "unit_amount": 1})
        with pytest.raises(stripe.InvalidRequestError, match="one or more user-created prices"):
            client.v1.products.delete(second.id)


class TestPrices:
    def test_of_a_fee(self, client: stripe.StripeClient) -> None:
        product = make_product(client)
        price = client.v1.prices.create(
            {
                "product": product.id,
                "currency": "EUR",
                "unit_amount": 1000,
                "recurring": {"interval": "month", "interval_count": 3},
                "lookup_key": "llm-basic:eur:3month",
            }
        )
        assert price.id.startswith("price_1")
        assert (price.currency, price.type, price.billing_scheme) == ("eur", "recurring", "per_unit")
        assert (price.unit_amount, price.unit_amount_decimal) == (1000, Decimal(1000))
        assert price.recurring is not None
        assert (price.recurring.interval_count, price.recurring.usage_type) == (3, "licensed")

    def test_of_usage_have_a_meter_and_many_decimals(self, client: stripe.StripeClient) -> None:
        meter = make_meter(client)
        price = client.v1.prices.create(
            {
                "product": make_product(client).id,
                "currency": "usd",
                "unit_amount_decimal": Decimal("0.000050"),
                "recurring": {"interval": "month", "usage_type": "metered", "meter": meter.id},
            }
        )
        assert (price.unit_amount, price.unit_amount_decimal) == (None, Decimal("0.00005"))
        assert price.recurring is not None
        assert price.recurring.meter == meter.id

    def test_in_tiers_show_them_when_asked(self, client: stripe.StripeClient) -> None:
        price = client.v1.prices.create(
            {
                "product": make_product(client).id,
                "currency": "usd",
                "billing_scheme": "tiered",
                "tiers_mode": "graduated",
                "tiers": [
                    {"up_to": 1000, "unit_amount": 1, "flat_amount": 100},
                    {"up_to": "inf", "unit_amount_decimal": Decimal("0.5")},
                ],
                "recurring": {"interval": "month"},
                "lookup_key": "tiered",
            }
        )
        assert "tiers" not in price
        assert (price.unit_amount, price.tiers_mode) == (None, "graduated")
        listed = client.v1.prices.list({"lookup_keys": ["tiered"], "expand": ["data.tiers", "data.product"]}).data[0]
        assert listed.tiers is not None
        assert [(tier.up_to, tier.unit_amount_decimal, tier.flat_amount) for tier in listed.tiers] == [
            (1000, Decimal(1), 100),
            (None, Decimal("0.5"), None),
        ]
        assert isinstance(listed.product, stripe.Product)
        assert listed.product.name == "Language models"

    def test_in_packages_round_up(self, client: stripe.StripeClient) -> None:
        price = client.v1.prices.create(
            {
                "product": make_product(client).id,
                "currency": "usd",
                "unit_amount": 500,
                "transform_quantity": {"divide_by": 100, "round": "up"},
                "recurring": {"interval": "month"},
            }
        )
        assert price.transform_quantity is not None
        assert (price.transform_quantity.divide_by, price.transform_quantity.round) == (100, "up")

    def test_give_their_lookup_key_away_only_when_told(self, client: stripe.StripeClient) -> None:
        product = make_product(client).id
        first = client.v1.prices.create(
            {"product": product, "currency": "usd", "unit_amount": 100, "lookup_key": "basic"}
        )
        with pytest.raises(stripe.InvalidRequestError, match="already uses that lookup key"):
            client.v1.prices.create({"product": product, "currency": "usd", "unit_amount": 200, "lookup_key": "basic"})
        second = client.v1.prices.create(
            {
                "product": product,
                "currency": "usd",
                "unit_amount": 200,
                "lookup_key": "basic",
                "transfer_lookup_key": True,
            }
        )
        assert client.v1.prices.retrieve(first.id).lookup_key is None
        assert [price.id for price in client.v1.prices.list({"lookup_keys": ["basic"]}).data] == [second.id]

    def test_keep_their_amount_for_ever(self, client: stripe.StripeClient, stripe_server: StripeServer) -> None:
        price = client.v1.prices.create({"product": make_product(client).id, "currency": "usd", "unit_amount": 100})
        change: Any = {"unit_amount": 200}
        with pytest.raises(stripe.InvalidRequestError) as refused:
            client.v1.prices.update(price.id, change)
        assert (refused.value.code, refused.value.param) == ("parameter_unknown", "unit_amount")
        assert stripe_server.objects("price")[0]["unit_amount"] == 100

    def test_can_be_archived_unless_they_are_the_default(self, client: stripe.StripeClient) -> None:
        product = make_product(client).id
        price = client.v1.prices.create({"product": product, "currency": "usd", "unit_amount": 100})
        client.v1.products.update(product, {"default_price": price.id})
        with pytest.raises(stripe.InvalidRequestError, match="default price of its product"):
            client.v1.prices.update(price.id, {"active": False})
        client.v1.products.update(product, {"default_price": ""})
        assert client.v1.prices.update(price.id, {"active": False}).active is False
        assert client.v1.prices.list({"product": product}).data == []
        assert [price.id for price in client.v1.prices.list({"product": product, "active": False}).data] == [price.id]


def make_meter(client: stripe.StripeClient, event_name: str = "llm_tokens") -> stripe.billing.Meter:
    return client.v1.billing.meters.create(
        {
            "display_name": "Tokens",
            "event_name": event_name,
            "default_aggregation": {"formula": "sum"},
            "customer_mapping": {"type": "by_id", "event_payload_key": "stripe_customer_id"},
            "value_settings": {"event_payload_key": "value"},
        }
    )


class TestMeters:
    def test_are_made_renamed_and_put_out_of_use(self, client: stripe.StripeClient) -> None:
        meter = make_meter(client)
        assert meter.id.startswith("mtr_")
        assert (meter.status, meter.default_aggregation.formula) == ("active", "sum")
        assert client.v1.billing.meters.update(meter.id, {"display_name": "All tokens"}).display_name == "All tokens"
        ended = client.v1.billing.meters.deactivate(meter.id)
        assert ended.status == "inactive"
        assert ended.status_transitions.deactivated_at is not None
        assert client.v1.billing.meters.list({"status": "active"}).data == []
        assert client.v1.billing.meters.reactivate(meter.id).status == "active"

    def test_have_an_event_name_of_their_own_while_they_are_active(self, client: stripe.StripeClient) -> None:
        first = make_meter(client)
        with pytest.raises(stripe.InvalidRequestError, match="already exists for event name"):
            make_meter(client)
        client.v1.billing.meters.deactivate(first.id)
        assert make_meter(client).id != first.id
        with pytest.raises(stripe.InvalidRequestError, match="already exists for event name"):
            client.v1.billing.meters.reactivate(first.id)

    def test_take_no_prices_once_inactive(self, client: stripe.StripeClient) -> None:
        meter = make_meter(client)
        client.v1.billing.meters.deactivate(meter.id)
        with pytest.raises(stripe.InvalidRequestError, match="is inactive"):
            client.v1.prices.create(
                {
                    "product": make_product(client).id,
                    "currency": "usd",
                    "unit_amount": 1,
                    "recurring": {"interval": "month", "usage_type": "metered", "meter": meter.id},
                }
            )


class TestTheLibrarysRetries:
    @pytest.mark.filterwarnings("ignore:Use 'content:DeprecationWarning")  # the library's own call of its transport
    def test_get_through_trouble_with_one_object_made(self, stripe_server: StripeServer) -> None:
        http = stripe.HTTPXClient(allow_sync_methods=True)
        client = stripe.StripeClient(
            stripe_server.test_key, base_addresses={"api": stripe_server.url}, http_client=http, max_network_retries=3
        )
        stripe_server.drop_next(moment="after", method="POST")
        stripe_server.fail_next(409, method="POST")
        product = make_product(client)
        http.close()  # type: ignore[no-untyped-call]
        assert [item["id"] for item in stripe_server.objects("product")] == [product.id]
        assert len(stripe_server.writes) == 3

    def test_keys_are_checked(self, stripe_server: StripeServer) -> None:
        for key in ("sk_" + "test_" + "unknown", stripe_server.publishable_key):
            with pytest.raises(stripe.AuthenticationError):
                connect(stripe_server, key).v1.balance.retrieve()
        client = connect(stripe_server, stripe_server.restricted_key)
        assert client.v1.products.list().data == []
        with pytest.raises(stripe.PermissionError):
            make_product(client)
