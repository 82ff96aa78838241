"""Negotiating a price is checked like publishing one, and what was agreed is ended, never changed."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from accounts.models import Account, PriceOverride
from accounts.services.price_overrides import PriceOverrideOverlaps, end_price_override, set_price_override
from billing_site.kernel.errors import InvalidState, ValidationFailed
from billing_site.platform.models import Event
from tests.support import world

pytestmark = pytest.mark.django_db

AT = datetime(2023, 11, 15, tzinfo=UTC)
JANUARY = datetime(2024, 1, 1, tzinfo=UTC)
MARCH = datetime(2024, 3, 1, tzinfo=UTC)


@pytest.fixture
def account() -> Account:
    world.publish()
    return world.open_account()


def agree(account: Account, **changes: Any) -> PriceOverride:
    terms = {
        "lookup_key": "pro:usd:month:input_tokens",
        "price": {"model": "per_unit", "unit_amount": "0.00004"},
        "effective_from": world.DECEMBER,
        "reason": "three-year contract",
        **changes,
    }
    return set_price_override(account=account, at=AT, actor=world.TESTER, **terms)


class TestSetPriceOverride:
    def test_keeps_what_was_agreed_and_says_who_and_why(self, account: Account) -> None:
        row = agree(account)
        assert (row.model, row.unit_amount, row.options) == ("per_unit", Decimal("0.00004"), {})
        event = Event.objects.get(type="price_override.created")
        assert (event.account_id, event.reason, event.actor_id) == (account.id, row.reason, "tester")
        assert event.data["price"] == {"model": "per_unit", "unit_amount": "0.00004"}

    def test_takes_a_price_with_tiers(self, account: Account) -> None:
        tiers = [{"up_to": 1000}, {"up_to": None, "unit_amount": "0.00004"}]
        row = agree(account, price={"model": "graduated", "tiers": tiers})
        assert row.unit_amount is None
        assert row.options == {"tiers": [{"up_to": "1000"}, {"up_to": None, "unit_amount": "0.00004"}]}

    def test_takes_a_fee_as_flat_and_in_whole_minor_units(self, account: Account) -> None:
        row = agree(account, lookup_key="pro:usd:month", price={"unit_amount": 900})
        assert (row.model, row.unit_amount) == ("flat", Decimal(900))

    def test_takes_no_amount_for_none(self, account: Account) -> None:
        tiers = [{"up_to": None, "unit_amount": "1"}]
        row = agree(account, price={"model": "graduated", "unit_amount": None, "tiers": tiers})
        assert row.unit_amount is None

    @pytest.mark.parametrize(
        ("changes", "pointer", "code"),
        [
            ({"lookup_key": "pro:usd:month", "price": {"unit_amount": "12.5"}}, "/price/unit_amount", "not_an_integer"),
            ({"lookup_key": "pro:usd:month:nothing"}, "/lookup_key", "not_found"),
            ({"reason": " "}, "/reason", "blank"),
            ({"price": {"model": "per_unit"}}, "/price/unit_amount", "required"),
            ({"price": {"model": "per_unit", "unit_amount": "1", "currency": "eur"}}, "/price/currency", "fixed"),
            ({"price": {"model": "graduated", "tiers": []}}, "/price/tiers", "tiers_empty"),
            ({"effective_until": AT}, "/effective_until", "before_start"),
            (
                {"lookup_key": "pro:usd:month", "price": {"unit_amount": 1, "minimum_amount": "5"}},
                "/price/minimum_amount",
                "key_not_in_model",
            ),
            ({"lookup_key": "pro:usd:month", "price": {"model": "dynamic"}}, "/price/model", "model_unsupported"),
        ],
    )
    def test_refuses_what_cannot_be_a_price(
        self, account: Account, changes: dict[str, Any], pointer: str, code: str
    ) -> None:
        with pytest.raises(ValidationFailed) as refused:
            agree(account, **changes)
        assert (pointer, code) in {(error.pointer, error.code) for error in refused.value.errors}
        assert not PriceOverride.objects.exists()

    def test_refuses_two_for_the_same_time(self, account: Account) -> None:
        agree(account, effective_until=JANUARY)
        agree(account, effective_from=JANUARY)
        with pytest.raises(PriceOverrideOverlaps):
            agree(account, effective_from=world.OCTOBER)
        with pytest.raises(PriceOverrideOverlaps):
            agree(account, effective_from=MARCH)


class TestEndPriceOverride:
    def test_holds_until_then(self, account: Account) -> None:
        row = agree(account)
        end_price_override(override_id=row.id, effective_until=MARCH, at=AT, actor=world.TESTER, reason="over")
        row.refresh_from_db()
        assert (row.effective_until, row.end_reason) == (MARCH, "over")
        assert Event.objects.get(type="price_override.ended").previous_data == {"effective_until": None}
        with pytest.raises(InvalidState):
            end_price_override(override_id=row.id, effective_until=MARCH, at=AT, actor=world.TESTER, reason="over")

    def test_before_it_began_withdraws_it(self, account: Account) -> None:
        row = agree(account)
        ended = end_price_override(override_id=row.id, effective_until=AT, at=AT, actor=world.TESTER, reason="typo")
        assert ended.effective_until == ended.effective_from == world.DECEMBER
        agree(account)


class TestTheTable:
    @pytest.mark.parametrize("changes", [{"unit_amount": Decimal(1)}, {"lookup_key": "x"}, {"reason": "another"}])
    def test_refuses_to_change_what_was_agreed(self, account: Account, changes: dict[str, Any]) -> None:
        row = agree(account)
        with pytest.raises(IntegrityError, match="never changed"), transaction.atomic():
            PriceOverride.objects.filter(id=row.id).update(**changes)
        with pytest.raises(IntegrityError, match="never changed"), transaction.atomic():
            row.delete()
