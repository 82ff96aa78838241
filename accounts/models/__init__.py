"""Tables of accounts, subscriptions and the ledger."""

from accounts.models.account import (
    MAX_GRACE_HOURS,
    Account,
    AccountStatus,
    CollectionMethod,
    InvoiceGrouping,
    Member,
    MemberRole,
    TestClock,
    Tier,
)
from accounts.models.cost_center import CostCenter
from accounts.models.credit_grant import CreditBurn, CreditGrant, CreditGrantMeter
from accounts.models.discount import CouponRedemption, DiscountEnd, SubscriptionDiscount
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
from accounts.models.payment_method import PaymentMethod, PaymentMethodStatus, PaymentMethodType
from accounts.models.price_override import PriceOverride
from accounts.models.provider_update import ProviderUpdate
from accounts.models.schedule import (
    UNFINISHED_SCHEDULES,
    EndBehavior,
    PhaseProration,
    SchedulePhase,
    ScheduleStatus,
    SubscriptionSchedule,
)
from accounts.models.subscription import (
    BILLABLE_STATUSES,
    RUNNING_STATUSES,
    WAITING_STATUSES,
    Alignment,
    BillingMode,
    ProviderType,
    Subscription,
    SubscriptionItem,
    SubscriptionStatus,
)

__all__ = [
    "BILLABLE_STATUSES",
    "MAX_GRACE_HOURS",
    "RUNNING_STATUSES",
    "UNFINISHED_SCHEDULES",
    "WAITING_STATUSES",
    "Account",
    "AccountStatus",
    "Alignment",
    "BillingMode",
    "CollectionMethod",
    "CostCenter",
    "CouponRedemption",
    "CreditBurn",
    "CreditGrant",
    "CreditGrantMeter",
    "CreditLot",
    "DiscountEnd",
    "EndBehavior",
    "Hold",
    "HoldStatus",
    "InvoiceGrouping",
    "LedgerAccount",
    "LedgerEntry",
    "LedgerKind",
    "LedgerType",
    "LotTaking",
    "Member",
    "MemberRole",
    "PaymentMethod",
    "PaymentMethodStatus",
    "PaymentMethodType",
    "PhaseProration",
    "Posting",
    "PriceOverride",
    "ProviderType",
    "ProviderUpdate",
    "SchedulePhase",
    "ScheduleStatus",
    "Subscription",
    "SubscriptionDiscount",
    "SubscriptionItem",
    "SubscriptionSchedule",
    "SubscriptionStatus",
    "TestClock",
    "Tier",
]
