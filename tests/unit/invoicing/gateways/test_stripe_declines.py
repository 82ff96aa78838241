"""Stripe's codes of refusal in our words."""

from __future__ import annotations

import pytest

from invoicing.gateways.declines import SENTENCES, DeclineReason, is_permanent
from invoicing.gateways.stripe.declines import REASONS, read_reason

# Stripe's list of decline codes, as it stands in its documentation.
STRIPES_LIST = """
    authentication_required authentication_not_handled
    approve_with_id call_issuer card_not_supported card_velocity_exceeded
    currency_not_supported do_not_honor do_not_try_again duplicate_transaction expired_card fraudulent generic_decline
    incorrect_cvc incorrect_number incorrect_pin incorrect_zip insufficient_funds invalid_account invalid_amount
    invalid_cvc invalid_expiry_month invalid_expiry_year invalid_number invalid_pin issuer_not_available lost_card
    merchant_blacklist mobile_device_authentication_required new_account_information_available no_action_taken
    not_permitted offline_pin_required online_or_offline_pin_required pickup_card pin_try_exceeded processing_error
    reenter_transaction restricted_card revocation_of_all_authorizations revocation_of_authorization security_violation
    service_not_allowed stolen_card stop_payment_order testmode_decline transaction_not_allowed try_again_later
    withdrawal_count_limit_exceeded
""".split()


@pytest.mark.parametrize("code", STRIPES_LIST)
def test_every_code_of_stripes_list_has_a_reason(code: str) -> None:
    assert REASONS[code] in SENTENCES


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ({"code": "card_declined", "decline_code": "insufficient_funds"}, DeclineReason.INSUFFICIENT_FUNDS),
        ({"code": "card_declined", "decline_code": "card_velocity_exceeded"}, DeclineReason.LIMIT_REACHED),
        ({"code": "incorrect_zip", "decline_code": "incorrect_zip"}, DeclineReason.ADDRESS_MISMATCH),
        ({"code": "incorrect_cvc", "decline_code": "incorrect_cvc"}, DeclineReason.INCORRECT_CVC),
        ({"code": "expired_card", "decline_code": "expired_card"}, DeclineReason.EXPIRED_CARD),
        ({"code": "expired_card"}, DeclineReason.EXPIRED_CARD),
        ({"code": "incorrect_number"}, DeclineReason.INVALID_NUMBER),
        ({"code": "card_declined", "decline_code": "lost_card"}, DeclineReason.LOST_CARD),
        ({"code": "card_declined", "decline_code": "stolen_card"}, DeclineReason.STOLEN_CARD),
        ({"code": "card_declined", "decline_code": "fraudulent"}, DeclineReason.DO_NOT_HONOR),
        ({"code": "card_declined", "decline_code": "do_not_honor"}, DeclineReason.DO_NOT_HONOR),
        ({"code": "card_declined", "decline_code": "generic_decline"}, DeclineReason.GENERIC),
        ({"code": "card_declined"}, DeclineReason.GENERIC),
        ({"code": "card_declined", "decline_code": "issuer_not_available"}, DeclineReason.TIMEOUT),
        ({"code": "processing_error", "decline_code": "processing_error"}, DeclineReason.UNKNOWN),
        (
            {"code": "authentication_required", "decline_code": "authentication_required"},
            DeclineReason.AUTHENTICATION_REQUIRED,
        ),
        ({"code": "payment_intent_authentication_failure"}, DeclineReason.AUTHENTICATION_REQUIRED),
        ({"code": "card_declined", "decline_code": "invented_tomorrow"}, DeclineReason.GENERIC),
        ({"code": "invented_tomorrow"}, DeclineReason.UNKNOWN),
        ({}, DeclineReason.UNKNOWN),
    ],
)
def test_reasons(error: dict[str, str], reason: DeclineReason) -> None:
    assert read_reason(error) is reason


def test_a_suspicion_gives_no_card_up_for_good() -> None:
    permanent = {code for code, reason in REASONS.items() if is_permanent(reason)}
    assert {"expired_card", "lost_card", "stolen_card", "pickup_card", "incorrect_number"} <= permanent
    assert not permanent & {"fraudulent", "do_not_honor", "insufficient_funds", "issuer_not_available", "call_issuer"}
