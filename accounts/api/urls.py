"""
Addresses of this app's operations.

An account in a path may be an external id with slashes (`acme/alice`), so what follows it is matched first.
"""

from __future__ import annotations

from django.urls import path

from accounts.api.views.accounts import AccountViewSet, MemberViewSet
from accounts.api.views.agenda import AgendaView
from accounts.api.views.cancellations import CancellationViewSet
from accounts.api.views.cost_centers import CostCenterViewSet
from accounts.api.views.coupons import CouponUseViewSet, SubscriptionDiscountView
from accounts.api.views.credit_grants import (
    CreditBalanceView,
    CreditBreakdownView,
    CreditGrantViewSet,
    SubscriptionCreditView,
)
from accounts.api.views.events import EventViewSet
from accounts.api.views.exports import AccountExportView
from accounts.api.views.invoice_credit import AdjustmentView, BalanceTransactionViewSet, CustomerBalanceView
from accounts.api.views.ledger import (
    BalanceAllView,
    BalanceView,
    DepositView,
    RefundView,
    TransactionView,
    WithdrawView,
)
from accounts.api.views.pauses import PauseViewSet
from accounts.api.views.payment_methods import DefaultPaymentMethodView, PaymentMethodViewSet
from accounts.api.views.portal import PortalPaymentMethodView, PortalViewSet
from accounts.api.views.price_overrides import PriceOverrideViewSet
from accounts.api.views.reconciliation import ReconcileView, ReconciliationMatchView
from accounts.api.views.schedules import ScheduleViewSet
from accounts.api.views.starter_credit import StarterCreditView
from accounts.api.views.subscription_changes import SubscriptionChangeViewSet
from accounts.api.views.subscription_grants import SubscriptionGrantView
from accounts.api.views.subscription_items import SubscriptionItemViewSet
from accounts.api.views.subscription_updates import SubscriptionUpdateView
from accounts.api.views.subscriptions import SubscriptionViewSet
from accounts.api.views.tiers import TierView

urlpatterns = [
    path("api/v1/billing/tenants/<path:account_id>/export", AccountExportView.as_view()),
    path("api/v1/billing/accounts", AccountViewSet.as_view({"get": "list", "post": "create"})),
    path(
        "api/v1/billing/accounts/<path:account_id>/members",
        MemberViewSet.as_view({"get": "list", "post": "create"}),
    ),
    path(
        "api/v1/billing/accounts/<path:account_id>/members/<str:member_id>",
        MemberViewSet.as_view({"patch": "partial_update", "delete": "destroy"}),
    ),
    path(
        "api/v1/billing/accounts/<path:account_id>",
        AccountViewSet.as_view({"get": "retrieve", "patch": "partial_update"}),
    ),
    path("api/v1/billing/balance", BalanceView.as_view()),
    path("api/v1/billing/balance/all", BalanceAllView.as_view()),
    path("api/v1/billing/transactions", TransactionView.as_view()),
    path("api/v1/billing/deposit", DepositView.as_view()),
    path("api/v1/billing/withdraw", WithdrawView.as_view()),
    path("api/v1/billing/refund", RefundView.as_view()),
    path("api/v1/billing/bank-transfer-instructions/reconciliation/match", ReconcileView.as_view()),
    path("api/v1/billing/reconciliation/match", ReconciliationMatchView.as_view()),
    path("api/v1/billing/customer-balance", CustomerBalanceView.as_view()),
    path("api/v1/billing/customer-balance/adjustments", AdjustmentView.as_view()),
    path("api/v1/billing/balance-transactions", BalanceTransactionViewSet.as_view({"get": "list"})),
    path("api/v1/billing/tier", TierView.as_view()),
    path("api/v1/billing/credit", StarterCreditView.as_view()),
    path("api/v1/billing/credit-grants", CreditGrantViewSet.as_view({"get": "list", "post": "create"})),
    path("api/v1/billing/credit-grants/<str:grant_id>/void", CreditGrantViewSet.as_view({"post": "void"})),
    path("api/v1/billing/credit-balance", CreditBalanceView.as_view()),
    path("api/v1/billing/credit-balance/breakdown", CreditBreakdownView.as_view()),
    path("api/v1/billing/coupons/validate", CouponUseViewSet.as_view({"post": "validate"})),
    path("api/v1/billing/coupons/redeem", CouponUseViewSet.as_view({"post": "redeem"})),
    path("api/v1/billing/subscriptions/<str:subscription_id>/discount", SubscriptionDiscountView.as_view()),
    path("api/v1/billing/subscriptions/<str:subscription_id>/credits", SubscriptionCreditView.as_view()),
    path("api/v1/billing/subscription-items", SubscriptionItemViewSet.as_view({"get": "list", "post": "create"})),
    path(
        "api/v1/billing/subscription-items/<str:item_id>",
        SubscriptionItemViewSet.as_view({"get": "retrieve", "patch": "partial_update", "delete": "destroy"}),
    ),
    path("api/v1/billing/subscription-schedules", ScheduleViewSet.as_view({"get": "list", "post": "create"})),
    path(
        "api/v1/billing/subscription-schedules/<str:schedule_id>",
        ScheduleViewSet.as_view({"get": "retrieve", "patch": "partial_update"}),
    ),
    path("api/v1/billing/subscription-schedules/<str:schedule_id>/cancel", ScheduleViewSet.as_view({"post": "cancel"})),
    path(
        "api/v1/billing/subscription-schedules/<str:schedule_id>/release",
        ScheduleViewSet.as_view({"post": "release"}),
    ),
    path("api/v1/billing/subscriptions", SubscriptionViewSet.as_view({"get": "list", "post": "create"})),
    path("api/v1/billing/subscriptions/<str:subscription_id>/cancel", CancellationViewSet.as_view({"post": "cancel"})),
    path(
        "api/v1/billing/subscriptions/<str:subscription_id>/reactivate",
        CancellationViewSet.as_view({"post": "reactivate"}),
    ),
    path("api/v1/billing/subscriptions/<str:subscription_id>/pause", PauseViewSet.as_view({"post": "pause"})),
    path("api/v1/billing/subscriptions/<str:subscription_id>/resume", PauseViewSet.as_view({"post": "resume"})),
    path(
        "api/v1/billing/subscriptions/<str:subscription_id>/change-plan",
        SubscriptionChangeViewSet.as_view({"post": "change_plan"}),
    ),
    path(
        "api/v1/billing/subscriptions/<str:subscription_id>",
        SubscriptionChangeViewSet.as_view({"get": "retrieve", "patch": "partial_update"}),
    ),
    path(
        "api/v1/billing/tenants/<path:account_id>/subscriptions",
        SubscriptionViewSet.as_view({"get": "list_of_account", "post": "create_for_account"}),
    ),
    path("api/v1/billing/tenants/<path:account_id>/subscription", SubscriptionViewSet.as_view({"get": "current"})),
    path("api/internal/billing/accounts/<path:account_id>/agenda", AgendaView.as_view()),
    path(
        "api/internal/billing/accounts/<path:account_id>/price-overrides",
        PriceOverrideViewSet.as_view({"get": "list", "post": "create"}),
    ),
    path(
        "api/internal/billing/accounts/<path:account_id>/price-overrides/<str:override_id>/end",
        PriceOverrideViewSet.as_view({"post": "end"}),
    ),
    path("api/internal/billing/subscription-updates", SubscriptionUpdateView.as_view()),
    path(
        "api/internal/billing/accounts/<path:account_id>/subscription-grants",
        SubscriptionGrantView.as_view(),
    ),
    path("api/v1/billing/cost-centers", CostCenterViewSet.as_view({"post": "create"})),
    path(
        "api/v1/billing/cost-centers/tenants/<path:account_id>/allocation",
        CostCenterViewSet.as_view({"get": "allocation"}),
    ),
    path("api/v1/billing/cost-centers/tenants/<path:account_id>", CostCenterViewSet.as_view({"get": "list"})),
    path(
        "api/v1/billing/cost-centers/<str:cost_center_id>",
        CostCenterViewSet.as_view({"get": "retrieve", "put": "update", "delete": "destroy"}),
    ),
    path("api/v1/billing/payment-methods", PaymentMethodViewSet.as_view({"get": "list", "post": "create"})),
    path(
        "api/v1/billing/payment-methods/<str:payment_method_id>",
        PaymentMethodViewSet.as_view({"get": "retrieve", "patch": "partial_update", "delete": "destroy"}),
    ),
    path(
        "api/v1/billing/customers/<path:account_id>/default-payment-method",
        DefaultPaymentMethodView.as_view(),
    ),
    path("api/v1/billing/portal/overview", PortalViewSet.as_view({"get": "overview"})),
    path("api/v1/billing/portal/invoices", PortalViewSet.as_view({"get": "invoices"})),
    path("api/v1/billing/portal/subscriptions", PortalViewSet.as_view({"get": "subscriptions"})),
    path("api/v1/billing/portal/payment-methods", PortalPaymentMethodView.as_view({"get": "list"})),
    path("api/v1/billing/events", EventViewSet.as_view({"get": "list"})),
    path("api/v1/billing/events/<str:event_id>", EventViewSet.as_view({"get": "retrieve"})),
]
