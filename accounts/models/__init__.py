"""Tables of accounts, subscriptions and the ledger."""

from accounts.models.account import (
    Account,
    AccountStatus,
    CollectionMethod,
    Member,
    MemberRole,
    TestClock,
    Tier,
)
from accounts.models.ledger import (
    CreditLot,
    LedgerAccount,
    LedgerEntry,
    LedgerKind,
    LedgerType,
    Posting,
)
from accounts.models.price_override import PriceOverride
from accounts.models.subscription import (
    BILLABLE_STATUSES,
    RUNNING_STATUSES,
    BillingMode,
    ProviderType,
    Subscription,
    SubscriptionItem,
    SubscriptionStatus,
)

__all__ = [
    "BILLABLE_STATUSES",
    "RUNNING_STATUSES",
    "Account",
    "AccountStatus",
    "BillingMode",
    "CollectionMethod",
    "CreditLot",
    "LedgerAccount",
    "LedgerEntry",
    "LedgerKind",
    "LedgerType",
    "Member",
    "MemberRole",
    "Posting",
    "PriceOverride",
    "ProviderType",
    "Subscription",
    "SubscriptionItem",
    "SubscriptionStatus",
    "TestClock",
    "Tier",
]
