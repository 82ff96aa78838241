"""Coupons, tax rates, pricing rules, meters and products in the admin: made once, shown, ended with a reason."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from billing_site.kernel import clock
from billing_site.platform.models import Event
from catalog.models import Coupon, Meter, PricingRule, Product, TaxRate
from catalog.services.coupons import deactivate_coupon
from catalog.services.pricing_rules import RuleTier
from tests.factories.catalog import (
    AT,
    PUBLISHER,
    make_coupon,
    make_meter,
    make_rule,
    make_tax_rate,
    publish_catalog,
)

pytestmark = pytest.mark.django_db

SignIn = Callable[[str], Client]


@pytest.fixture
def sign_in() -> SignIn:
    def make(role: str) -> Client:
        user = User.objects.create_user(role, password="a-long-password", is_staff=True)
        user.groups.add(Group.objects.get(name=role))
        client = Client()
        client.force_login(user)
        return client

    return make


def url(model: type[Model] | Model, page: str, *arguments: object) -> str:
    return reverse(f"admin:catalog_{model._meta.model_name}_{page}", args=arguments)


def text_of(response: Any) -> str:
    assert response.status_code == 200
    return html.unescape(response.content.decode())


def show(client: Client, row: Model) -> str:
    return text_of(client.get(url(row, "change", row.pk)))


def add(client: Client, model: type[Model], /, **values: Any) -> Any:
    return client.post(url(model, "add"), {"org_id": "default", **values}, follow=True)


def act(client: Client, row: Model, name: str, reason: str = "agreed with sales") -> Any:
    path = url(row, "change", row.pk).replace("/change/", f"/{name}/")
    return client.post(path, {"_confirmed": "1", "reason": reason}, follow=True)


def offered(client: Client, row: Model) -> set[str]:
    page = show(client, row)
    names = ("deactivate", "end", "close", "archive", "restore", "remove")
    return {name for name in names if re.search(rf'{row.pk}/{name}/?"', page)}


class TestCoupons:
    def test_are_made_through_the_service(self, sign_in: SignIn) -> None:
        publish_catalog()
        response = add(
            sign_in("finance_lead"),
            Coupon,
            code="launch2026",
            discount_type="percentage",
            discount_value="20 %",
            duration_months="3",
            max_redemptions="1000",
            applicable_plan_ids=["pro", "free"],
            starts_at_0="2026-01-01",
            starts_at_1="00:00:00",
        )
        coupon = Coupon.objects.get()
        assert response.redirect_chain, text_of(response)
        assert (coupon.code, coupon.percent_off, coupon.applicable_plan_ids) == (
            "LAUNCH2026",
            Decimal(20),
            ["pro", "free"],
        )
        assert (coupon.starts_at, coupon.duration_months, coupon.max_redemptions) == (AT, 3, 1000)
        event = Event.objects.get(type="coupon.created")
        assert (event.actor_type, event.actor_id) == ("staff", "finance_lead")

    @pytest.mark.parametrize(("currency", "typed", "stored"), [("usd", "15.00", 1500), ("jpy", "1500", 1500)])
    def test_take_amounts_in_major_units(self, sign_in: SignIn, currency: str, typed: str, stored: int) -> None:
        values = {"code": "FIFTEEN", "discount_type": "credit", "discount_value": typed, "currency": currency}
        add(sign_in("finance_lead"), Coupon, **values)
        assert Coupon.objects.get().amount_off == stored

    @pytest.mark.parametrize(
        ("values", "says"),
        [
            ({"discount_value": "120"}, "A percentage is above 0 and at most 100."),
            ({"discount_value": "a lot"}, "is not a number"),
            ({"code": "SPRING SALE"}, "3 to 64 letters, digits or dashes"),
            ({"discount_type": "credit", "discount_value": "5"}, "An amount needs a currency."),
            ({"discount_type": "credit", "discount_value": "5.005", "currency": "usd"}, "is not a number"),
            ({"code": "TAKEN"}, "There is a coupon TAKEN already."),
        ],
    )
    def test_say_what_is_wrong_in_the_form(self, sign_in: SignIn, values: dict[str, str], says: str) -> None:
        make_coupon("TAKEN")
        form = {"code": "NEW", "discount_type": "percentage", "discount_value": "20", **values}
        page = text_of(add(sign_in("finance_lead"), Coupon, **form))
        assert says in page
        assert Coupon.objects.count() == 1

    def test_are_shown_in_words(self, sign_in: SignIn) -> None:
        make_coupon(max_redemptions=1000, duration_months=3)
        credit = make_coupon("GIFT", discount_type="credit", discount_value=Decimal(1500), currency="usd")
        make_coupon("LATE", expires_at=AT)
        make_coupon("SOON", starts_at=clock.now() + timedelta(days=1))
        deactivate_coupon(coupon_id=make_coupon("GONE").pk, at=AT, actor=PUBLISHER)
        Coupon.objects.filter(code="GIFT").update(redemption_count=7)
        client = sign_in("viewer")
        page = text_of(client.get(url(Coupon, "changelist")))
        for words in ("20 %", "15.00 USD credit", "0 of 1,000", "Expired", "Scheduled", "Deactivated", "every plan"):
            assert words in page, words
        assert "coupon.created" in show(client, credit)

    def test_are_read_only_afterwards(self, sign_in: SignIn) -> None:
        coupon = make_coupon()
        client = sign_in("admin")
        assert client.post(url(coupon, "change", coupon.pk), {"code": "OTHER"}).status_code == 403
        assert client.post(url(coupon, "delete", coupon.pk), {"post": "yes"}).status_code == 403
        assert 'name="code"' not in show(client, coupon)

    def test_are_deactivated_with_a_reason(self, sign_in: SignIn) -> None:
        coupon = make_coupon()
        client = sign_in("finance_lead")
        act(client, coupon, "deactivate", reason=" ")
        assert Coupon.objects.get().is_active
        act(client, coupon, "deactivate", reason="leaked on a forum")
        assert not Coupon.objects.get().is_active
        assert Event.objects.get(type="coupon.deactivated").reason == "leaked on a forum"
        assert offered(client, coupon) == {"remove"}

    def test_many_are_deactivated_at_once(self, sign_in: SignIn) -> None:
        rows = [make_coupon("ONE"), make_coupon("TWO")]
        selection = {"action": "deactivate", "_selected_action": [str(row.pk) for row in rows]}
        data = {**selection, "_confirmed": "1", "reason": "the sale is over"}
        sign_in("finance_lead").post(url(Coupon, "changelist"), data)
        assert not Coupon.objects.filter(is_active=True).exists()

    def test_are_removed_only_while_unused(self, sign_in: SignIn) -> None:
        coupon = make_coupon()
        Coupon.objects.update(redemption_count=1)
        client = sign_in("finance_lead")
        page = html.unescape(act(client, coupon, "remove").content.decode())
        assert "in use by 1 redemption" in page
        Coupon.objects.update(redemption_count=0)
        response = act(client, coupon, "remove")
        assert response.redirect_chain[-1][0] == url(Coupon, "changelist")
        assert not Coupon.objects.exists()


class TestTaxRates:
    def test_are_made_in_percent(self, sign_in: SignIn) -> None:
        add(
            sign_in("finance_lead"),
            TaxRate,
            name="Sales tax",
            rate="8.875",
            country="US",
            state="ny",
            combinable="on",
            valid_from="2026-01-01",
        )
        rate = TaxRate.objects.get()
        assert (rate.rate, rate.jurisdiction, rate.combinable) == (Decimal("0.08875"), "US-NY", True)
        assert (rate.inclusive, rate.valid_from) == (False, date(2026, 1, 1))

    def test_say_what_is_wrong_in_the_form(self, sign_in: SignIn) -> None:
        page = text_of(add(sign_in("finance_lead"), TaxRate, name="VAT", rate="190", country="DE"))
        assert "A rate is a fraction from 0 to 1" in page
        assert not TaxRate.objects.exists()

    def test_are_shown_in_words_and_ended_with_a_reason(self, sign_in: SignIn) -> None:
        rate = make_tax_rate("US", "0.0725", name="Sales tax", state="CA", combinable=False, is_default=True)
        client = sign_in("finance_lead")
        page = text_of(client.get(url(TaxRate, "changelist"), {"q": "sales"}))
        for words in ("7.25 %", "US-CA", "on top, stands alone, default", "In force"):
            assert words in page, words
        assert offered(client, rate) == {"end", "remove"}
        act(client, rate, "end", reason="the state changed it")
        rate.refresh_from_db()
        assert rate.ended_on == clock.now().date()
        assert offered(client, rate) == {"remove"}
        act(client, rate, "remove")
        assert not TaxRate.objects.exists()


class TestPricingRules:
    def test_are_made_per_unit_or_in_tiers(self, sign_in: SignIn) -> None:
        publish_catalog()
        meter = Meter.objects.get(event_name="api")
        client = sign_in("finance_lead")
        values = {"meter": str(meter.pk), "currency": "usd"}
        add(client, PricingRule, **values, model="per_unit", unit_price="0.00005")
        add(client, PricingRule, **values, model="tiered", plan_key="pro", tiers="100, 10\n 500.5,0.5 ,250\n-, 0.25\n")
        flat, tiered = PricingRule.objects.order_by("id")
        assert (flat.meter, flat.plan_key, flat.unit_price) == (meter, "", Decimal("0.00005"))
        assert (tiered.plan_key, [tier["up_to"] for tier in tiered.tiers]) == ("pro", ["100", "500.5", None])
        page = text_of(client.get(url(PricingRule, "changelist")))
        assert "0.50 USD / 1,000,000 requests" in page
        assert "tiered, 3 tiers" in page
        assert "above 500.5" in show(client, tiered)

    @pytest.mark.parametrize(
        ("values", "says"),
        [
            ({"model": "per_unit"}, "A price per unit is needed."),
            ({"model": "tiered", "tiers": "100; 10"}, "Line 1 is not"),
            ({"model": "per_unit", "unit_price": "1"}, "close it first"),
        ],
    )
    def test_say_what_is_wrong_in_the_form(self, sign_in: SignIn, values: dict[str, str], says: str) -> None:
        publish_catalog()
        make_rule("api")
        meter = Meter.objects.get(event_name="api")
        page = text_of(add(sign_in("finance_lead"), PricingRule, meter=str(meter.pk), currency="usd", **values))
        assert says in page
        assert PricingRule.objects.count() == 1

    def test_are_closed_with_a_reason(self, sign_in: SignIn) -> None:
        publish_catalog()
        rule = make_rule("api")
        client = sign_in("finance_lead")
        assert offered(client, rule) == {"close"}
        act(client, rule, "close", reason="a new price list")
        rule.refresh_from_db()
        assert rule.closed_at is not None
        assert offered(client, rule) == set()
        assert Event.objects.get(type="pricing_rule.closed").reason == "a new price list"
        for state, count in (("open", 0), ("closed", 1)):
            response = client.get(url(PricingRule, "changelist"), {"state": state})
            assert response.context["cl"].result_count == count


class TestMetersAndProducts:
    @pytest.mark.parametrize(("model", "key"), [(Meter, {"event_name": "api"}), (Product, {"key": "ai"})])
    def test_are_archived_and_restored(self, sign_in: SignIn, model: Any, key: dict[str, str]) -> None:
        publish_catalog()
        row = model.objects.get(**key)
        client = sign_in("finance_lead")
        assert offered(client, row) == {"archive", "remove"}
        act(client, row, "archive")
        assert not model.objects.get(**key).is_active
        assert offered(client, row) == {"restore", "remove"}
        act(client, row, "restore")
        assert model.objects.get(**key).is_active

    @pytest.mark.parametrize(
        ("model", "key", "uses"), [(Meter, {"event_name": "api"}, "quota rules"), (Product, {"key": "ai"}, "plans")]
    )
    def test_in_use_are_not_removed(self, sign_in: SignIn, model: Any, key: dict[str, str], uses: str) -> None:
        publish_catalog()
        row = model.objects.get(**key)
        client = sign_in("finance_lead")
        path = url(row, "change", row.pk).replace("/change/", "/remove/")
        assert f"is in use by {uses}: it cannot be removed" in text_of(client.get(path))
        page = html.unescape(act(client, row, "remove").content.decode())
        assert f"the published catalog and {uses}" in page
        assert model.objects.filter(**key).exists()

    def test_unused_ones_are_removed(self, sign_in: SignIn) -> None:
        meter = make_meter()
        response = act(sign_in("finance_lead"), meter, "remove")
        assert response.redirect_chain[-1][0] == url(Meter, "changelist")
        assert not Meter.objects.exists()


class TestRoles:
    @pytest.mark.parametrize("role", ["viewer", "billing"])
    def test_finance_alone_changes(self, sign_in: SignIn, role: str) -> None:
        publish_catalog()
        client = sign_in(role)
        rows: list[tuple[Any, tuple[str, ...]]] = [
            (make_coupon(), ("deactivate", "remove")),
            (make_tax_rate(), ("end", "remove")),
            (make_rule("api"), ("close",)),
            (Meter.objects.get(event_name="api"), ("archive", "remove")),
            (Product.objects.get(key="ai"), ("archive", "remove")),
        ]
        for row, names in rows:
            assert offered(client, row) == set()
            assert client.get(url(row, "add")).status_code == 403
            assert [act(client, row, name).status_code for name in names] == [403] * len(names)
        assert Event.objects.exclude(type__endswith=".created").exclude(type="catalog.published").count() == 0


class TestLists:
    def test_take_a_constant_number_of_queries(self, sign_in: SignIn) -> None:
        publish_catalog()
        client = sign_in("finance_lead")
        makers: dict[Any, Callable[[int], Any]] = {
            Coupon: lambda number: make_coupon(f"CODE-{number}"),
            TaxRate: lambda number: make_tax_rate(name=f"Tax {number}"),
            PricingRule: lambda number: make_rule(
                "api", None, model="volume", tiers=[RuleTier(None, Decimal(number))], plan_key=("pro", "free")[number]
            ),
        }
        for model, make in makers.items():
            counts = []
            for number in range(2):
                make(number)
                text_of(client.get(url(model, "changelist")))
                with CaptureQueriesContext(connection) as queries:
                    text_of(client.get(url(model, "changelist")))
                counts.append(len(queries))
            assert counts[0] == counts[1], model

    @pytest.mark.parametrize("model", [Coupon, TaxRate, PricingRule])
    def test_teach_when_empty(self, sign_in: SignIn, model: Any) -> None:
        client = sign_in("finance_lead")
        assert "yet" in text_of(client.get(url(model, "changelist")))
        assert "Organization" in text_of(client.get(url(model, "add")))
