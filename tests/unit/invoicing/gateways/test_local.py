"""The local payment provider: the token alone decides."""

from __future__ import annotations

import pytest

from billing_site.kernel.money import Money
from invoicing.gateways.declines import SENTENCES, DeclineReason, describe_decline, is_permanent
from invoicing.gateways.local import TEST_CARDS, LocalGateway
from invoicing.gateways.port import Declined, Payer, ProviderUnavailable, StoredMethod, TokenRejected

GATEWAY = LocalGateway()
HOLD = Money(100, "usd")


def store(token: str, *, type: str = "card", key: str = "k") -> StoredMethod:
    return GATEWAY.store_method(token=token, type=type, payer=Payer("acc_1"), key=key)


def hold(token: str) -> str:
    return GATEWAY.authorise(method_ref=store(token).ref, amount=HOLD, key="k")


class TestStoring:
    @pytest.mark.parametrize(
        ("token", "brand", "last4"),
        [
            ("tok_visa", "visa", "4242"),
            ("pm_card_visa", "visa", "4242"),
            ("tok_visa_debit", "visa", "5556"),
            ("pm_card_mastercard", "mastercard", "4444"),
            ("tok_amex", "amex", "0005"),
        ],
    )
    def test_tells_what_may_be_shown(self, token: str, brand: str, last4: str) -> None:
        card = store(token).card
        assert (card["brand"], card["last4"], card["exp_month"]) == (brand, last4, 12)

    def test_gives_a_new_card_for_each_key_and_the_same_for_the_same(self) -> None:
        assert store("tok_visa", key="a") == store("tok_visa", key="a")
        assert store("tok_visa", key="a").ref != store("tok_visa", key="b").ref

    def test_takes_other_names_as_they_are(self) -> None:
        assert store("pm_1N2abc") == StoredMethod(ref="pm_1N2abc")
        assert hold("pm_1N2abc")

    def test_knows_bank_accounts(self) -> None:
        assert store("btok_us_verified", type="bank_account").bank_account["last4"] == "6789"

    @pytest.mark.parametrize(("token", "type"), [("btok_us", "card"), ("tok_visa", "bank_account")])
    def test_refuses_a_token_of_another_type(self, token: str, type: str) -> None:
        with pytest.raises(TokenRejected):
            store(token, type=type)


class TestHolding:
    @pytest.mark.parametrize(
        ("token", "reason"),
        [
            ("tok_chargeDeclined", DeclineReason.GENERIC),
            ("tok_declined", DeclineReason.GENERIC),
            ("tok_insufficient_funds", DeclineReason.INSUFFICIENT_FUNDS),
            ("pm_card_visa_chargeDeclinedInsufficientFunds", DeclineReason.INSUFFICIENT_FUNDS),
            ("tok_limit_reached", DeclineReason.LIMIT_REACHED),
            ("tok_address_mismatch", DeclineReason.ADDRESS_MISMATCH),
            ("tok_expired", DeclineReason.EXPIRED_CARD),
            ("tok_chargeDeclinedExpiredCard", DeclineReason.EXPIRED_CARD),
            ("tok_incorrect_cvc", DeclineReason.INCORRECT_CVC),
            ("tok_invalid_number", DeclineReason.INVALID_NUMBER),
            ("tok_lost_card", DeclineReason.LOST_CARD),
            ("tok_stolen_card", DeclineReason.STOLEN_CARD),
            ("tok_do_not_honor", DeclineReason.DO_NOT_HONOR),
            ("tok_unverifiable", DeclineReason.UNKNOWN),
        ],
    )
    def test_declines_for_the_reason_in_the_token(self, token: str, reason: str) -> None:
        with pytest.raises(Declined) as refusal:
            hold(token)
        assert refusal.value.reason == reason

    def test_may_never_answer(self) -> None:
        with pytest.raises(ProviderUnavailable) as refusal:
            hold("tok_timeout")
        assert (refusal.value.status, refusal.value.retryable) == (503, True)

    def test_is_let_go(self) -> None:
        GATEWAY.cancel(authorisation_ref=hold("tok_visa"), key="k")
        with pytest.raises(ProviderUnavailable):
            GATEWAY.cancel(authorisation_ref=hold("tok_release_fails"), key="k")

    def test_every_test_card_does_one_of_these(self) -> None:
        for card in TEST_CARDS:
            try:
                hold(f"tok_{card}")
            except (Declined, ProviderUnavailable):
                continue


class TestDeclines:
    def test_each_has_a_sentence(self) -> None:
        assert set(SENTENCES) == set(DeclineReason)
        assert describe_decline("insufficient_funds") == "The card has insufficient funds."
        assert describe_decline("something else") == "The card could not be verified."
        assert describe_decline("lost_card") == describe_decline("stolen_card")

    def test_some_never_get_better(self) -> None:
        assert {reason for reason in DeclineReason if is_permanent(reason)} == {
            "expired_card",
            "lost_card",
            "stolen_card",
            "invalid_number",
        }
