"""
Stripe's decline codes and error codes of cards in our words.

Source: Stripe's list of decline codes; contract chapter Payments (decline sentences).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from invoicing.gateways.declines import DeclineReason

_BY_REASON: Final[Mapping[DeclineReason, str]] = {
    DeclineReason.INSUFFICIENT_FUNDS: "insufficient_funds",
    DeclineReason.LIMIT_REACHED: """
        card_velocity_exceeded withdrawal_count_limit_exceeded pin_try_exceeded card_decline_rate_limit_exceeded
        charge_exceeds_source_limit charge_exceeds_transaction_limit charge_exceeds_weekly_limit
    """,
    DeclineReason.ADDRESS_MISMATCH: "incorrect_zip incorrect_address postal_code_invalid",
    DeclineReason.INCORRECT_CVC: "incorrect_cvc invalid_cvc",
    DeclineReason.EXPIRED_CARD: "expired_card",
    DeclineReason.INVALID_NUMBER: """
        invalid_account incorrect_number invalid_number new_account_information_available invalid_expiry_month
        invalid_expiry_year bank_account_unusable account_number_invalid routing_number_invalid account_closed
        no_account
    """,
    DeclineReason.LOST_CARD: "lost_card",
    # The bank wants these cards back, or lets them be used nowhere any more.
    DeclineReason.STOLEN_CARD: "stolen_card pickup_card restricted_card",
    # Suspicions of fraud are told to nobody, and are no reason to give a card up for good.
    DeclineReason.DO_NOT_HONOR: """
        do_not_honor do_not_try_again no_action_taken not_permitted revocation_of_all_authorizations
        revocation_of_authorization security_violation service_not_allowed stop_payment_order transaction_not_allowed
        currency_not_supported card_not_supported fraudulent merchant_blacklist bank_account_restricted
        debit_not_authorized highest_risk_level elevated_risk_level rule
    """,
    DeclineReason.GENERIC: """
        generic_decline card_declined call_issuer approve_with_id duplicate_transaction invalid_amount
        invalid_pin offline_pin_required online_or_offline_pin_required incorrect_pin
        mobile_device_authentication_required live_mode_test_card test_mode_live_card testmode_decline
        payment_method_customer_decline payment_method_provider_decline bank_account_declined
        payment_intent_payment_attempt_failed
    """,
    DeclineReason.TIMEOUT: """
        issuer_not_available reenter_transaction try_again_later payment_method_provider_timeout
        payment_intent_payment_attempt_expired payment_method_not_available
    """,
    DeclineReason.AUTHENTICATION_REQUIRED: """
        authentication_required payment_intent_authentication_failure setup_intent_authentication_failure
        authentication_not_handled
    """,
    DeclineReason.UNKNOWN: "processing_error payment_method_microdeposit_failed",
}
REASONS: Final[Mapping[str, DeclineReason]] = {
    code: reason for reason, codes in _BY_REASON.items() for code in codes.split()
}


def read_reason(error: Mapping[str, Any]) -> DeclineReason:
    """Return why, from an error or a `last_payment_error`: the bank's code where there is one, else Stripe's own."""
    for name in ("decline_code", "code"):
        reason = REASONS.get(str(error.get(name) or ""))
        # `card_declined` says nothing that the decline code could not say better.
        if reason is not None:
            return reason
    return DeclineReason.GENERIC if error.get("code") == "card_declined" else DeclineReason.UNKNOWN
