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
from accounts.models.cost_center import CostCenter
from accounts.models.credit_grant import CreditBurn, CreditGrant, CreditGrantMeter
from accounts.models.hold import Hold, HoldStatus
from accounts.models.ledger import (
    CreditLot,
    LedgerAccount,
    LedgerEntry,
    LedgerKind,
    LedgerType,
    LotTaking,
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
    "CostCenter",
    "CreditBurn",
    "CreditGrant",
    "CreditGrantMeter",
    "CreditLot",
    "Hold",
    "HoldStatus",
    "LedgerAccount",
    "LedgerEntry",
    "LedgerKind",
    "LedgerType",
    "LotTaking",
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
