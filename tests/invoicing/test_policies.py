"""The policies of a seller: what they are without anybody's choice, what wins, and who may change them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.urls import reverse

from accounts.models import Account
from accounts.terms.proration import ProrationTerms
from billing_site.kernel.errors import ValidationFailed
from billing_site.platform.models import Event
from catalog.models import PlanVersion
from catalog.services.publishing import publish_document
from invoicing.models import Seller
from invoicing.queries.policies import (
    SellerPolicies,
    find_seller_policies,
    get_proration_terms,
    get_seller_policies,
)
from invoicing.services.sellers import ensure_default_seller, update_seller
from tests.support import world

pytestmark = pytest.mark.django_db

EVERY_OTHER = {
    "proration_unit": "second",
    "proration_basis": "fixed_30",
    "alignment": "calendar",
    "interval_change": "restart",
    "pause_credit": "none",
    "cancel_unused": "credit",
}


@pytest.fixture
def seller() -> Seller:
    return ensure_default_seller("default")


def change(seller: Seller, **changes: Any) -> Seller:
    return update_seller(seller_id=seller.id, changes=changes, at=world.NOVEMBER, actor=world.TESTER)


def publish_version(**terms: str) -> PlanVersion:
    document = world.make_document()
    document["plans"][1].update(terms)
    publish_document(org_id="default", document=document, at=world.OCTOBER, actor=world.TESTER)
    return PlanVersion.objects.get(plan__key="pro", revision__is_active=True)


class TestGetSellerPolicies:
    def test_begins_with_the_defaults_of_the_product(self, seller: Seller) -> None:
        assert get_seller_policies(seller) == SellerPolicies()
        assert SellerPolicies() == SellerPolicies(
            proration=ProrationTerms("day", "actual"),
            alignment="anniversary",
            interval_change="keep_anchor",
            pause_credit="unused_days",
            cancel_unused="forfeit",
        )

    def test_reads_every_choice(self, seller: Seller) -> None:
        assert get_seller_policies(change(seller, **EVERY_OTHER)) == SellerPolicies(
            proration=ProrationTerms("second", "fixed_30"),
            alignment="calendar",
            interval_change="restart",
            pause_credit="none",
            cancel_unused="credit",
        )

    def test_an_organization_without_a_seller_has_the_defaults(self, seller: Seller) -> None:
        change(seller, alignment="calendar")
        assert find_seller_policies(Account(org_id="default")).alignment == "calendar"
        assert find_seller_policies(Account(org_id="elsewhere")) == SellerPolicies()


class TestStartSubscription:
    def test_follows_the_seller_unless_asked_otherwise(self, seller: Seller) -> None:
        world.publish()
        change(seller, alignment="calendar")
        start = datetime(2023, 11, 16, 9, tzinfo=UTC)
        choices: list[dict[str, Any]] = [
            {},
            {"alignment": "anniversary"},
            {"billing_cycle_anchor": date(2023, 11, 20)},
        ]
        found = [
            world.subscribe(world.open_account(f"shop-{number}"), "pro", at=start, **options)
            for number, options in enumerate(choices)
        ]
        assert [(each.alignment, each.anchor_date) for each in found] == [
            ("calendar", date(2023, 11, 1)),
            ("anniversary", date(2023, 11, 16)),
            ("anniversary", date(2023, 11, 20)),
        ]
        # 15 of 30 days; a whole month; 4 of the 31 days since 20 October
        assert [invoice.total for invoice in world.list_invoices()] == [500, 1000, 129]

    def test_a_running_subscription_keeps_its_alignment(self, seller: Seller) -> None:
        world.publish()
        subscription = world.subscribe(world.open_account(), "pro")
        change(seller, alignment="calendar")
        world.run_cycle(as_of=world.DECEMBER)
        subscription.refresh_from_db()
        assert (subscription.alignment, subscription.anchor_date) == ("anniversary", date(2023, 11, 1))


class TestGetProrationTerms:
    @pytest.mark.parametrize(
        ("plan", "expected"),
        [
            ({}, ProrationTerms("second", "fixed_30")),
            ({"proration": "day"}, ProrationTerms("day", "fixed_30")),
            ({"proration": "none"}, ProrationTerms("none", "fixed_30")),
            ({"proration_basis": "actual"}, ProrationTerms("second", "actual")),
            ({"proration": "day", "proration_basis": "actual"}, ProrationTerms("day", "actual")),
        ],
    )
    def test_what_the_plan_says_wins_word_by_word(
        self, seller: Seller, plan: dict[str, str], expected: ProrationTerms
    ) -> None:
        change(seller, proration_unit="second", proration_basis="fixed_30")
        seller.refresh_from_db()
        assert get_proration_terms(publish_version(**plan), seller) == expected

    def test_a_subscription_keeps_what_its_version_said(self, seller: Seller) -> None:
        old, new = publish_version(proration="second"), publish_version(proration="none")
        assert (old.version, new.version) == (1, 2)
        assert get_proration_terms(old, seller).unit == "second"
        assert get_proration_terms(new, seller).unit == "none"


class TestUpdateSeller:
    @pytest.mark.parametrize("name", [*EVERY_OTHER, "rounding"])
    def test_refuses_a_word_that_is_no_choice(self, seller: Seller, name: str) -> None:
        with pytest.raises(ValidationFailed) as refused:
            change(seller, **{name: "sometimes"})
        assert [(each.pointer, each.code) for each in refused.value.errors] == [(f"/{name}", "choice_unknown")]
        assert not Event.objects.filter(type="seller.updated").exists()

    @pytest.mark.parametrize("name", EVERY_OTHER)
    def test_the_database_refuses_it_too(self, seller: Seller, name: str) -> None:
        with (
            pytest.raises(IntegrityError, match="sellers_policies_known"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(f"UPDATE sellers SET {name} = 'never' WHERE id = %s", [seller.id])

    def test_says_who_changed_which_policy(self, seller: Seller) -> None:
        change(seller, alignment="calendar", pause_credit="none")
        event = Event.objects.get(type="seller.updated")
        assert event.actor_id == "tester"
        assert event.previous_data == {"alignment": "anniversary", "pause_credit": "unused_days"}
        assert event.data["alignment"] == "calendar"
        assert event.data["pause_credit"] == "none"


class TestSellerPage:
    def test_policies_are_chosen_from_lists(self, seller: Seller) -> None:
        user = User.objects.create_user("ada", is_staff=True)
        user.groups.add(Group.objects.get(name="admin"))
        client = Client()
        client.force_login(user)
        url = reverse("admin:invoicing_seller_change", args=[seller.pk])
        form = client.get(url).context["adminform"].form
        shown = {name: form[name].value() for name in form.fields}
        posted = {name: "" if value in (None, "") or value is False else value for name, value in shown.items()}
        posted |= EVERY_OTHER
        assert client.post(url, posted).status_code == 302
        seller.refresh_from_db()
        assert {name: getattr(seller, name) for name in EVERY_OTHER} == EVERY_OTHER
        answer = client.post(url, posted | {"alignment": "lunar"})
        assert "alignment" in answer.context["adminform"].form.errors
