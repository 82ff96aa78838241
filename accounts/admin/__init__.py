"""Admin pages of accounts."""

from accounts.admin.account import AccountAdmin, MemberAdmin
from accounts.admin.cost_center import CostCenterAdmin
from accounts.admin.credit_grant import CreditGrantAdmin
from accounts.admin.ledger import CreditLotAdmin, HoldAdmin, LedgerAccountAdmin, LedgerEntryAdmin
from accounts.admin.payment_method import PaymentMethodAdmin
from accounts.admin.price_override import PriceOverrideAdmin
from accounts.admin.schedule import SubscriptionScheduleAdmin
from accounts.admin.subscription import SubscriptionAdmin
from accounts.admin.test_clock import TestClockAdmin

__all__ = [
    "AccountAdmin",
    "CostCenterAdmin",
    "CreditGrantAdmin",
    "CreditLotAdmin",
    "HoldAdmin",
    "LedgerAccountAdmin",
    "LedgerEntryAdmin",
    "MemberAdmin",
    "PaymentMethodAdmin",
    "PriceOverrideAdmin",
    "SubscriptionAdmin",
    "SubscriptionScheduleAdmin",
    "TestClockAdmin",
]
