"""
Settings of payments: the provider, its keys, and what is done with money. `settings` takes them all over.

dj-stripe mirrors the provider's objects; our own tables decide.
"""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured

from billing_site.environment import env, first_env

_live = env.bool("BILLING_LIVEMODE", default=False)

# ---- provider -------------------------------------------------------------------------------------------------------
BILLING_PAYMENT_PROVIDER = env.str("BILLING_PAYMENT_PROVIDER", default="local")  # local takes no real money
_stripe_key = first_env(
    "BILLING_STRIPE_SECRET_KEY", "STRIPE_SECRET_KEY", "STRIPE_LIVE_SECRET_KEY", "STRIPE_TEST_SECRET_KEY"
)
STRIPE_LIVE_MODE = _live
STRIPE_LIVE_SECRET_KEY = _stripe_key if _live else ""
STRIPE_TEST_SECRET_KEY = "" if _live else _stripe_key
STRIPE_API_VERSION = first_env("BILLING_STRIPE_API_VERSION", "STRIPE_API_VERSION", default="2026-04-22.dahlia")
# Another address of the provider, for a sandbox on this machine; never with real money.
BILLING_STRIPE_API_BASE = first_env("BILLING_STRIPE_API_BASE", "BILLING_STRIPE_API_URL", "STRIPE_API_BASE")
if BILLING_STRIPE_API_BASE and _live:
    raise ImproperlyConfigured("BILLING_STRIPE_API_BASE is for sandboxes; a live site talks to the provider itself.")
DJSTRIPE_FOREIGN_KEY_TO_FIELD = "id"
DJSTRIPE_WEBHOOK_VALIDATION = "verify_signature"
# Seconds until an answer of the provider is given up; the outcome is unknown then, and asked for later.
BILLING_PROVIDER_TIMEOUT_SECONDS = env.int("BILLING_PROVIDER_TIMEOUT_SECONDS", default=20)

# ---- payments -------------------------------------------------------------------------------------------------------
BILLING_TOPUP_MIN = env.int("BILLING_TOPUP_MIN", default=100)  # minor units
BILLING_TOPUP_MAX = env.int("BILLING_TOPUP_MAX", default=1_000_000)
# Where hosted pages may send people back to: origins such as https://app.example.com; empty: nowhere else but here.
BILLING_RETURN_URL_ORIGINS = env.list("BILLING_RETURN_URL_ORIGINS", default=[])

# ---- dunning --------------------------------------------------------------------------------------------------------
# Hours after a failed attempt to collect an invoice until the next one, and what follows the last of them, where no
# campaign says otherwise.
BILLING_DUNNING_DELAYS_HOURS = env.list("BILLING_DUNNING_DELAYS_HOURS", cast=int, default=[24, 72, 168])
BILLING_DUNNING_END = env.str("BILLING_DUNNING_END", default="unpaid")
if any(not 1 <= hours <= 1440 for hours in BILLING_DUNNING_DELAYS_HOURS) or len(BILLING_DUNNING_DELAYS_HOURS) > 10:
    raise ImproperlyConfigured("BILLING_DUNNING_DELAYS_HOURS is at most ten delays of 1 to 1440 hours, with commas.")
if BILLING_DUNNING_END not in ("unpaid", "cancel", "free_plan"):
    raise ImproperlyConfigured("BILLING_DUNNING_END is unpaid, cancel or free_plan.")
# Where mails about unpaid invoices send people to pay; {account}, {invoice} and {number} are filled in. Empty: nowhere.
BILLING_PAY_URL = env.str("BILLING_PAY_URL", default="")
# Days before the end of a default card's last month at which its account is warned; 0: never.
BILLING_CARD_EXPIRY_NOTICE_DAYS = env.int("BILLING_CARD_EXPIRY_NOTICE_DAYS", default=30)
if not 0 <= BILLING_CARD_EXPIRY_NOTICE_DAYS <= 365:
    raise ImproperlyConfigured("BILLING_CARD_EXPIRY_NOTICE_DAYS is 0 to 365.")
# ---- webhooks in ----------------------------------------------------------------------------------------------------
# Secrets of the provider's endpoints, several while one takes over from another. Without one there is no such door.
BILLING_STRIPE_WEBHOOK_SECRETS = [
    secret
    for text in (env.str("BILLING_STRIPE_WEBHOOK_SECRETS", default=""), first_env("STRIPE_WEBHOOK_SECRET"))
    for secret in (part.strip() for part in text.split(","))
    if secret
]
# The local provider signs its events like a real one; never in live mode.
BILLING_LOCAL_WEBHOOK_SECRETS = [] if _live else env.list("BILLING_LOCAL_WEBHOOK_SECRETS", default=[])
BILLING_WEBHOOK_MAX_BYTES = env.int("BILLING_WEBHOOK_MAX_BYTES", default=1024 * 1024)
BILLING_WEBHOOK_BODY_DAYS = env.int("BILLING_WEBHOOK_BODY_DAYS", default=90)  # what came is kept so long, word for word
# ---- money back -----------------------------------------------------------------------------------------------------
# Above which amount (minor units) a second person approves a refund, by reason; `default` for all others, and without
# it the limit of all approvals: "fraudulent=0,default=5000".
BILLING_REFUND_APPROVAL_LIMITS: dict[str, int] = {
    reason.strip(): int(limit)
    for reason, _, limit in (part.partition("=") for part in env.list("BILLING_REFUND_APPROVAL_LIMITS", default=[]))
}
# Who is told of deadlines of disputes, besides the inbox of operators; empty: the company's own address.
BILLING_FINANCE_EMAIL = env.str("BILLING_FINANCE_EMAIL", default="")
# Payouts to ourselves: the account (id or external id) whose verified methods are ours, and the most at once.
BILLING_PLATFORM_ACCOUNT = env.str("BILLING_PLATFORM_ACCOUNT", default="")
BILLING_PLATFORM_PAYOUT_LIMIT = env.int("BILLING_PLATFORM_PAYOUT_LIMIT", default=1_000_000)  # minor units
# How far back the nightly comparison with the provider looks; what is not settled is always looked at.
BILLING_RECONCILIATION_DAYS = env.int("BILLING_RECONCILIATION_DAYS", default=3)
