"""The account that the keys belong to, and the bank accounts its payouts go to."""

from __future__ import annotations

from tests.stripe_server.errors import other_account
from tests.stripe_server.routing import Answer, Call, Page, Route, Single
from tests.stripe_server.store import Kind, Object, Store, copy_json

ACCOUNT = Kind("account", "acct_1", lacks=("livemode",))
BANK_ACCOUNT = Kind("bank_account", "ba_1", words="external account", lacks=("created", "livemode"))
ACCOUNT_ID = "acct_1SandboxCountinghouse"
DEFAULT_BANK_ACCOUNT = "ba_1SandboxDefault"
_REFUSING = {"ba_1SandboxNoAccount": "no_account", "ba_1SandboxClosed": "account_closed"}
_EMPTY_NEEDS: Object = {
    "alternatives": [],
    "current_deadline": None,
    "currently_due": [],
    "disabled_reason": None,
    "errors": [],
    "eventually_due": [],
    "past_due": [],
    "pending_verification": [],
}


def retrieve_own(call: Call) -> Answer:
    """GET /v1/account."""
    return Single(ACCOUNT, find_account(call.store))


def retrieve(call: Call) -> Answer:
    """GET /v1/accounts/{id}: one's own, there is no other."""
    if call.id != ACCOUNT_ID:
        raise other_account(call.id)
    return Single(ACCOUNT, find_account(call.store))


def list_accounts(call: Call) -> Answer:
    """GET /v1/accounts: the connected ones, of which there are none."""
    return Page(ACCOUNT, [])


def list_external_accounts(call: Call) -> Answer:
    """GET /v1/accounts/{id}/external_accounts."""
    retrieve(call)
    wanted = call.parameters.choice("object", ("bank_account", "card"))
    return Page(BANK_ACCOUNT, call.store.newest(BANK_ACCOUNT) if wanted != "card" else [])


def retrieve_external_account(call: Call) -> Answer:
    """GET /v1/accounts/{id}/external_accounts/{account}."""
    retrieve(call)
    return Single(BANK_ACCOUNT, call.store.get(BANK_ACCOUNT, call.ids["account"]))


def open_account(store: Store) -> None:
    """Make the account and its bank accounts; the last four of those that refuse are 1113 and 1116, as with Stripe."""
    for id, last4 in ((DEFAULT_BANK_ACCOUNT, "6789"), ("ba_1SandboxNoAccount", "1116"), ("ba_1SandboxClosed", "1113")):
        account = store.add(
            BANK_ACCOUNT,
            {
                "account_holder_name": "Countinghouse Sandbox",
                "account_holder_type": "company",
                "account_type": None,
                "bank_name": "STRIPE TEST BANK",
                "country": "US",
                "currency": "usd",
                "customer": None,
                "fingerprint": store.ids.make("", 16),
                "last4": last4,
                "metadata": {},
                "routing_number": "110000000",
                "status": "new",
            },
            id=id,
        )
        store.note(account["id"])["payouts_fail"] = _REFUSING.get(id, "")
    banks = [copy_json(account) for account in store.all(BANK_ACCOUNT)]
    listed = {"object": "list", "data": banks, "has_more": False, "url": f"/v1/accounts/{ACCOUNT_ID}/external_accounts"}
    store.add(ACCOUNT, {**_describe(), "external_accounts": listed}, id=ACCOUNT_ID)


def find_account(store: Store) -> Object:
    """Return the account."""
    return store.get(ACCOUNT, ACCOUNT_ID)


def default_bank_account(store: Store) -> Object:
    """Return the bank account that payouts go to unless another is named."""
    return store.get(BANK_ACCOUNT, DEFAULT_BANK_ACCOUNT)


def _describe() -> Object:
    address = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))
    return {
        "business_profile": {
            "annual_revenue": None,
            "estimated_worker_count": None,
            "mcc": "5734",
            "minority_owned_business_designation": None,
            "name": "Countinghouse Sandbox",
            "product_description": None,
            "support_address": address,
            "support_email": None,
            "support_phone": None,
            "support_url": None,
            "url": "https://sandbox.example",
        },
        "business_type": "company",
        "capabilities": {"card_payments": "active", "transfers": "active"},
        "charges_enabled": True,
        "controller": {"type": "account"},
        "country": "US",
        "default_currency": "usd",
        "details_submitted": True,
        "email": "sandbox@example.com",
        "future_requirements": copy_json(_EMPTY_NEEDS),
        "metadata": {},
        "payouts_enabled": True,
        "requirements": copy_json(_EMPTY_NEEDS),
        "settings": {
            "bacs_debit_payments": {"display_name": None, "service_user_number": None},
            "branding": {"icon": None, "logo": None, "primary_color": None, "secondary_color": None},
            "card_issuing": {"tos_acceptance": {"date": None, "ip": None}},
            "card_payments": {
                "decline_on": {"avs_failure": True, "cvc_failure": True},
                "statement_descriptor_prefix": None,
                "statement_descriptor_prefix_kana": None,
                "statement_descriptor_prefix_kanji": None,
            },
            "dashboard": {"display_name": "Countinghouse Sandbox", "timezone": "Etc/UTC"},
            "invoices": {"default_account_tax_ids": None, "hosted_payment_method_save": None},
            "payments": {
                "statement_descriptor": "COUNTINGHOUSE",
                "statement_descriptor_kana": None,
                "statement_descriptor_kanji": None,
                "statement_descriptor_prefix_kana": None,
                "statement_descriptor_prefix_kanji": None,
            },
            "payouts": {
                "debit_negative_balances": True,
                "schedule": {"delay_days": 2, "interval": "manual"},
                "statement_descriptor": None,
            },
            "sepa_debit_payments": {},
        },
        "tos_acceptance": {"date": None, "ip": None, "user_agent": None},
        "type": "standard",
    }


ROUTES = (
    Route("GET", "/v1/account", retrieve_own, "rak_accounts_kyc_basic_read"),
    Route("GET", "/v1/accounts", list_accounts, "rak_accounts_kyc_basic_read"),
    Route("GET", "/v1/accounts/{id}", retrieve, "rak_accounts_kyc_basic_read"),
    Route("GET", "/v1/accounts/{id}/external_accounts", list_external_accounts, "rak_accounts_kyc_basic_read"),
    Route(
        "GET",
        "/v1/accounts/{id}/external_accounts/{account}",
        retrieve_external_account,
        "rak_accounts_kyc_basic_read",
    ),
)
