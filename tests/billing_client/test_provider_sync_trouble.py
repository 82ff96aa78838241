"""A sync that is interrupted, refused or left without answers: nothing is made twice, and the next run goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from billing_client.provider_sync import connection
from tests.billing_client.provider import Document, Sync, make_catalog, results_of
from tests.stripe_server.resources.products import PRODUCT
from tests.stripe_server.server import StripeServer

TIERS = [{"up_to": 1000, "unit_amount": "2"}, {"up_to": None, "unit_amount": "1.5", "flat_amount": 100}]


def make_second_catalog() -> Document:
    """Return the catalog with something new, something changed and something kept of every kind."""
    document = make_catalog(products=[{"id": "llm", "name": "Models"}, {"id": "extra", "name": "Extras"}])
    document["meters"].append({"name": "images", "unit": "images", "display_name": "Images"})
    document["meters"][0]["display_name"] = "All tokens"
    prices = document["plans"][0]["prices"]
    prices[0]["unit_amount"] = 1200
    prices.append({"currency": "usd", "meter": "images", "model": "graduated", "tiers": TIERS})
    extra = {"currency": "usd", "unit_amount": 300, "interval": "month"}
    document["plans"].append({"id": "more", "product_id": "extra", "name": "More", "prices": [extra]})
    return document


def describe(provider: StripeServer) -> list[dict[str, Any]]:
    """Return everything the provider has, without ids and times, in an order of its own."""
    ids = {item["id"]: item.get("lookup_key") or item.get("event_name") or item["name"] for item in list_all(provider)}
    volatile = {"id", "created", "updated", "metadata"}
    shown = []
    for item in list_all(provider):
        plain = {key: value for key, value in item.items() if key not in volatile}
        plain["product"], plain["default_price"] = ids.get(item.get("product")), ids.get(item.get("default_price"))
        if (item.get("recurring") or {}).get("meter"):
            plain["recurring"] = {**item["recurring"], "meter": ids[item["recurring"]["meter"]]}
        plain["metadata"] = sorted(item.get("metadata") or {})
        shown.append(plain)
    return sorted(shown, key=str)


def list_all(provider: StripeServer) -> list[dict[str, Any]]:
    named = []
    for price in provider.objects("price"):
        # An archived price has lost its lookup key; its amount names it here.
        named.append({**price, "name": f"archived {price['unit_amount']}"})
    return [*provider.objects("product"), *provider.objects("billing.meter"), *named]


def prepare(sync: Sync, provider: StripeServer) -> None:
    """Bring the first catalog there, its fee being the default price of the product."""
    sync(make_catalog())
    provider.objects("product")[0]["default_price"] = provider.objects("price")[0]["id"]


Trouble = Callable[[StripeServer, int], None]


def lose_requests(provider: StripeServer, writes: int) -> None:
    provider.drop_next(times=None, skip=writes, method="POST")


def lose_answers(provider: StripeServer, writes: int) -> None:
    provider.drop_next(times=None, skip=writes, method="POST", moment="after")


def refuse(provider: StripeServer, writes: int) -> None:
    provider.fail_next(503, times=None, skip=writes, method="POST")


def fail_after_the_work(provider: StripeServer, writes: int) -> None:
    provider.fail_next(500, times=None, skip=writes, method="POST", moment="after")


class TestInterruptedSync:
    WRITES = 10
    """Of the second catalog: two updates, five creations, and three requests about the fee that was replaced."""

    def test_takes_so_many_writes(self, sync: Sync, provider: StripeServer) -> None:
        prepare(sync, provider)
        outcome = sync(make_second_catalog())
        assert outcome.code == 0
        assert len(provider.writes) == self.WRITES
        [archived] = [price for price in provider.objects("price") if not price["active"]]
        assert archived["unit_amount"] == 1000

    @pytest.mark.parametrize("trouble", [lose_requests, lose_answers, refuse, fail_after_the_work])
    def test_ends_where_an_uninterrupted_one_does(
        self, sync: Sync, provider: StripeServer, trouble: Trouble, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connection, "ATTEMPTS", 2)
        prepare(sync, provider)
        sync(make_second_catalog())
        expected = describe(provider)
        for writes in range(self.WRITES):
            empty(provider)
            prepare(sync, provider)
            trouble(provider, writes)
            broken = sync(make_second_catalog())
            # A failure after the work is got over where what was made can be found.
            assert broken.code == 1 or trouble is fail_after_the_work, writes
            assert broken.err.startswith("Error: payment provider error: ") is bool(broken.code)
            provider.heal()
            assert sync(make_second_catalog()).code == 0, writes
            assert describe(provider) == expected, writes
            assert set(results_of(sync(make_second_catalog())).values()) == {"found"}
            assert provider.writes == []

    def test_tells_what_was_written_before(self, sync: Sync, provider: StripeServer) -> None:
        lose_requests(provider, 2)
        err = sync(make_catalog()).err.splitlines()
        [product], [meter] = provider.objects("product"), provider.objects("billing.meter")
        assert err == [
            f"Error: payment provider error: cannot be reached at {provider.url}: "
            "Server disconnected without sending a response.",
            f"created before: product llm {product['id']}",
            f"created before: meter llm_tokens {meter['id']}",
            "Hint: try again; the next run goes on from here and creates nothing twice",
        ]

    def test_finishes_an_older_replacement_before_it_makes_another(self, sync: Sync, provider: StripeServer) -> None:
        sync(make_catalog())
        for amount, writes in ((1200, 1), (1300, 3), (1400, 3)):
            # The new price is made, then nothing gets through: what it replaced stays active.
            provider.drop_next(times=None, skip=writes, method="POST")
            assert sync(change_fee(amount)).code == 1
            provider.heal()
        assert list_active(provider) == [None, 1300, 1400]
        assert sync(change_fee(1400)).code == 0
        assert list_active(provider) == [None, 1400]


def change_fee(amount: int) -> Document:
    document = make_catalog()
    document["plans"][0]["prices"][0]["unit_amount"] = amount
    return document


def list_active(provider: StripeServer) -> list[int | None]:
    """Return the amounts of the prices in use, the oldest first."""
    return [price["unit_amount"] for price in provider.objects("price") if price["active"]]


def empty(provider: StripeServer) -> None:
    """Start with a new account."""
    fresh = type(provider.api)(provider.api.keys)
    provider.api = fresh


class TestPassingTrouble:
    @pytest.mark.parametrize("status", [409, 429, 500, 502, 503, 504])
    def test_is_sat_out(self, sync: Sync, provider: StripeServer, status: int) -> None:
        for skip in (0, 2, 5):
            provider.fail_next(status, skip=skip)
        provider.drop_next(skip=7)
        provider.drop_next(skip=8, moment="after")
        outcome = sync(make_catalog())
        assert (outcome.code, set(results_of(outcome).values())) == (0, {"created"})
        assert (len(provider.objects("product")), len(provider.objects("price"))) == (1, 2)

    @pytest.mark.parametrize("place", range(4))
    def test_of_one_lost_answer_makes_nothing_twice(self, sync: Sync, provider: StripeServer, place: int) -> None:
        provider.drop_next(skip=place, method="POST", moment="after")
        assert set(results_of(sync(make_catalog())).values()) == {"created"}
        assert [len(provider.objects(kind)) for kind in ("product", "billing.meter", "price")] == [1, 1, 2]

    def test_ends_after_five_attempts(self, sync: Sync, provider: StripeServer) -> None:
        provider.fail_next(503, times=None)
        outcome = sync(make_catalog())
        assert (outcome.code, len(provider.requests)) == (1, 5)
        assert outcome.err == "Error: payment provider error: An unknown error occurred\nHint: try again\n"

    def test_is_not_sat_out_when_the_provider_advises_against_it(self, sync: Sync, provider: StripeServer) -> None:
        provider.fail_next(503, times=None, headers={"Stripe-Should-Retry": "false"})
        assert sync(make_catalog()).code == 1
        assert len(provider.requests) == 1

    def test_is_waited_for_longer_each_time(self, provider: StripeServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connection, "FIRST_WAIT", 0.5)
        waits: list[float] = []
        provider.fail_next(503, times=3)
        provider.fail_next(429, headers={"Retry-After": "3"})
        with connection.StripeConnection(provider.test_key, api_url=provider.url, sleep=waits.append) as connected:
            connected.get("/v1/balance")
        for wait, least in zip(waits, (0.5, 1, 2), strict=False):
            assert least <= wait <= least * 1.25
        assert waits[3:] == [3]


class TestRefusals:
    def test_of_the_key_do_not_repeat_it(
        self, sync: Sync, provider: StripeServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        key = "sk_" + "test_" + "unknown0123456789"
        monkeypatch.setenv("BILLING_STRIPE_SECRET_KEY", key)
        outcome = sync(make_catalog())
        assert (outcome.code, outcome.out, len(provider.requests)) == (1, "", 1)
        assert outcome.err == (
            "Error: payment provider error: the key was not accepted\n"
            "Hint: check key, mode (test or live) and permissions\n"
        )

    def test_for_want_of_permission_name_it(
        self, sync: Sync, provider: StripeServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("BILLING_STRIPE_SECRET_KEY", provider.restricted_key)
        outcome = sync(make_catalog())
        assert outcome.code == 1
        assert "rak_billing_meter_read" in outcome.err
        assert provider.writes == []


class TestKeysOfTheSameDay:
    """The provider answers a repeated idempotency key for a day; what is meant anew must still be made."""

    def test_do_not_bring_back_a_deleted_product(self, sync: Sync, provider: StripeServer) -> None:
        document = make_catalog(plans=[])
        ids = []
        for _ in range(3):
            ids.append(sync(document).data["items"][0]["id"])
            provider.store().remove(PRODUCT, ids[-1])
        assert results_of(sync(document))["product llm"] == "created"
        assert len(set(ids)) == 3
        assert provider.objects("product")[0]["id"] not in ids

    def test_do_not_bring_back_a_meter_that_is_out_of_use(self, sync: Sync, provider: StripeServer) -> None:
        document = make_catalog(plans=[])
        sync(document)
        provider.objects("billing.meter")[0]["status"] = "inactive"
        assert results_of(sync(document))["meter llm_tokens"] == "created"
        assert [meter["status"] for meter in provider.objects("billing.meter")] == ["inactive", "active"]

    def test_do_not_bring_back_a_price_whose_lookup_key_was_taken_away(
        self, sync: Sync, provider: StripeServer
    ) -> None:
        sync(make_catalog())
        for price in provider.objects("price"):
            price.update(lookup_key=None, active=False)
        outcome = sync(make_catalog())
        assert results_of(outcome)["price basic:usd:month"] == "created"
        assert [price["active"] for price in provider.objects("price")] == [False, False, True, True]

    def test_do_not_repeat_a_failure_that_is_over(self, sync: Sync, provider: StripeServer) -> None:
        provider.fail_next(500, method="POST", path="/prices")
        assert sync(make_catalog()).code == 0
        assert len(provider.objects("price")) == 2

    def test_do_not_repeat_a_refusal_whose_cause_is_gone(
        self, sync: Sync, provider: StripeServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # The price is refused while the meter is out of use, and the refusal is remembered under the key.
        sync(make_catalog(plans=[]))
        [meter] = provider.objects("billing.meter")
        real = provider.api.answer

        def put_out_of_use(request: Any) -> Any:
            meter["status"] = "inactive" if request.method == "POST" and "/prices" in request.path else "active"
            return real(request)

        monkeypatch.setattr(provider.api, "answer", put_out_of_use)
        refused = sync(make_catalog())
        assert (refused.code, "is inactive" in refused.err) == (1, True)
        monkeypatch.setattr(provider.api, "answer", real)
        meter["status"] = "active"
        assert sync(make_catalog()).code == 0
        assert len(provider.objects("price")) == 2

    def test_are_the_same_for_the_same_content(self, provider: StripeServer, sync: Sync) -> None:
        keys = []
        for _ in range(2):
            sync(make_catalog())
            keys.append([request.idempotency_key for request in provider.writes])
            empty(provider)
        assert keys[0] == keys[1]
        assert len(set(keys[0])) == 4
