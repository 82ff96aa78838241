"""Routes of invoicing."""

from django.urls import path

from invoicing.api.views.bank_transfers import BankInstructionViewSet
from invoicing.api.views.credit_notes import CreditNoteViewSet
from invoicing.api.views.cycle import CycleRunAllView, CycleRunUserView, CycleRunView
from invoicing.api.views.disputes import DisputeViewSet
from invoicing.api.views.estimate import BillingEstimateView
from invoicing.api.views.hosted_sessions import (
    CheckoutSessionView,
    PortalSessionView,
    StripeCheckoutView,
    StripePortalView,
)
from invoicing.api.views.impact import CatalogImpactView
from invoicing.api.views.invoice_editing import InvoiceEditingViewSet
from invoicing.api.views.invoice_items import InvoiceItemViewSet
from invoicing.api.views.invoices import InvoiceViewSet
from invoicing.api.views.local_pages import CheckoutPage, DonePage, PortalPage
from invoicing.api.views.payment_intents import InvoicePaymentViewSet, PaymentIntentActions, PaymentIntentViewSet
from invoicing.api.views.payouts import PayoutCancelView, PayoutViewSet
from invoicing.api.views.plan_moves import PlanMoveViewSet
from invoicing.api.views.previews import InvoicePreviewView, UpcomingInvoiceViewSet
from invoicing.api.views.refunds import RefundViewSet
from invoicing.api.views.reports import ReportView
from invoicing.api.views.setup_intents import CardTokenizeView, SetupIntentViewSet
from invoicing.api.views.topups import TopUpTokenView, TopUpView
from invoicing.api.views.webhooks import InternalStripeWebhookView, StripeWebhookView, WebhookView

BILLING = "api/v1/billing"
INTERNAL = "api/internal/billing"

urlpatterns = [
    path(f"{BILLING}/webhooks/<str:provider>", WebhookView.as_view()),
    path(f"{BILLING}/stripe/webhook", StripeWebhookView.as_view()),
    path("api/internal/stripe/webhook", InternalStripeWebhookView.as_view()),
    path(f"{BILLING}/invoices", InvoiceViewSet.as_view({"get": "list", "post": "create"})),
    path(
        f"{BILLING}/tenants/<path:account_id>/invoices",
        InvoiceViewSet.as_view({"get": "list_account", "post": "generate"}),
    ),
    path(f"{BILLING}/tenants/<path:account_id>/billing/estimate", BillingEstimateView.as_view()),
    path(f"{BILLING}/tenants/<path:account_id>/billing/preview", UpcomingInvoiceViewSet.as_view({"get": "of_account"})),
    path(f"{BILLING}/invoice-preview", InvoicePreviewView.as_view()),
    path(f"{BILLING}/invoices/upcoming", UpcomingInvoiceViewSet.as_view({"get": "upcoming"})),
    path(f"{BILLING}/invoices/<str:invoice_id>", InvoiceViewSet.as_view({"get": "retrieve"})),
    path(f"{BILLING}/invoices/<str:invoice_id>/pdf", InvoiceViewSet.as_view({"get": "pdf"})),
    path(f"{BILLING}/invoices/<str:invoice_id>/line-items", InvoiceEditingViewSet.as_view({"post": "add_line"})),
    path(
        f"{BILLING}/invoices/<str:invoice_id>/line-items/<str:item_id>",
        InvoiceEditingViewSet.as_view({"delete": "remove_line"}),
    ),
    path(f"{BILLING}/invoices/<str:invoice_id>/apply-discount", InvoiceEditingViewSet.as_view({"post": "discount"})),
    path(
        f"{BILLING}/invoices/<str:invoice_id>/calculate-tax", InvoiceEditingViewSet.as_view({"post": "calculate_tax"})
    ),
    path(f"{BILLING}/invoices/<str:invoice_id>/pay", InvoicePaymentViewSet.as_view({"post": "pay"})),
    path(
        f"{BILLING}/invoices/<str:invoice_id>/payment-intent",
        InvoicePaymentViewSet.as_view({"post": "payment_intent"}),
    ),
    path(f"{BILLING}/payment-intents", PaymentIntentViewSet.as_view({"get": "list", "post": "create"})),
    path(f"{BILLING}/payment-intents/<str:payment_intent_id>", PaymentIntentViewSet.as_view({"get": "retrieve"})),
    path(
        f"{BILLING}/payment-intents/<str:payment_intent_id>/confirm",
        PaymentIntentActions.as_view({"post": "confirm"}),
    ),
    path(
        f"{BILLING}/payment-intents/<str:payment_intent_id>/capture",
        PaymentIntentActions.as_view({"post": "capture"}),
    ),
    path(
        f"{BILLING}/payment-intents/<str:payment_intent_id>/cancel",
        PaymentIntentActions.as_view({"post": "cancel"}),
    ),
    path(f"{BILLING}/topup", TopUpView.as_view()),
    path(f"{BILLING}/topup/token", TopUpTokenView.as_view()),
    path(f"{BILLING}/invoices/<str:invoice_id>/finalize", InvoiceViewSet.as_view({"post": "finalize"})),
    path(f"{BILLING}/invoices/<str:invoice_id>/void", InvoiceViewSet.as_view({"post": "void"})),
    path(f"{BILLING}/credit-notes", CreditNoteViewSet.as_view({"get": "list", "post": "create"})),
    path(f"{BILLING}/credit-notes/<str:credit_note_id>", CreditNoteViewSet.as_view({"get": "retrieve"})),
    path(f"{BILLING}/credit-notes/<str:credit_note_id>/pdf", CreditNoteViewSet.as_view({"get": "pdf"})),
    path(f"{BILLING}/credit-notes/<str:credit_note_id>/void", CreditNoteViewSet.as_view({"post": "void"})),
    path(
        f"{BILLING}/bank-transfer-instructions",
        BankInstructionViewSet.as_view({"get": "list", "post": "create"}),
    ),
    path(
        f"{BILLING}/bank-transfer-instructions/<str:instruction_id>",
        BankInstructionViewSet.as_view({"get": "retrieve"}),
    ),
    path(f"{BILLING}/setup-intents", SetupIntentViewSet.as_view({"post": "create"})),
    path(f"{BILLING}/setup-intents/<str:setup_intent_id>", SetupIntentViewSet.as_view({"get": "retrieve"})),
    path(f"{BILLING}/setup-intents/<str:setup_intent_id>/confirm", SetupIntentViewSet.as_view({"post": "confirm"})),
    path(f"{BILLING}/setup-intents/<str:setup_intent_id>/cancel", SetupIntentViewSet.as_view({"post": "cancel"})),
    path(f"{BILLING}/checkout-session", CheckoutSessionView.as_view()),
    path(f"{BILLING}/portal-session", PortalSessionView.as_view()),
    path(f"{BILLING}/stripe/checkout", StripeCheckoutView.as_view()),
    path(f"{BILLING}/stripe/portal", StripePortalView.as_view()),
    path("pay/done", DonePage.as_view(), name="pay-done"),
    path("pay/checkout/<str:signed>", CheckoutPage.as_view(), name="pay-checkout"),
    path("pay/portal/<str:signed>", PortalPage.as_view(), name="pay-portal"),
    path(f"{BILLING}/card/tokenize", CardTokenizeView.as_view()),
    path(f"{BILLING}/refunds", RefundViewSet.as_view({"get": "list", "post": "create"})),
    path(f"{BILLING}/refunds/<str:refund_id>", RefundViewSet.as_view({"get": "retrieve"})),
    path(f"{BILLING}/payouts", PayoutViewSet.as_view({"get": "list", "post": "create"})),
    path(f"{BILLING}/payouts/<str:payout_id>", PayoutViewSet.as_view({"get": "retrieve"})),
    path(f"{BILLING}/payouts/<str:payout_id>/cancel", PayoutCancelView.as_view()),
    path(f"{BILLING}/disputes", DisputeViewSet.as_view({"get": "list"})),
    path(
        f"{BILLING}/disputes/<str:dispute_id>", DisputeViewSet.as_view({"get": "retrieve", "patch": "partial_update"})
    ),
    path(f"{BILLING}/disputes/<str:dispute_id>/close", DisputeViewSet.as_view({"post": "close"})),
    path(f"{BILLING}/cycle/run", CycleRunView.as_view()),
    path(f"{BILLING}/cycle/run-user", CycleRunUserView.as_view()),
    path(f"{BILLING}/cycle/run-all", CycleRunAllView.as_view()),
    path(f"{INTERNAL}/catalog/impact", CatalogImpactView.as_view()),
    path(
        f"{INTERNAL}/accounts/<path:account_id>/invoice-items",
        InvoiceItemViewSet.as_view({"get": "list", "post": "create"}),
    ),
    path(
        f"{INTERNAL}/accounts/<path:account_id>/invoice-items/<str:item_id>",
        InvoiceItemViewSet.as_view({"delete": "destroy"}),
    ),
    path(f"{INTERNAL}/reports/<str:report>", ReportView.as_view()),
    path(f"{INTERNAL}/plan-moves", PlanMoveViewSet.as_view({"get": "list", "post": "create"})),
    path(f"{INTERNAL}/plan-moves/preview", PlanMoveViewSet.as_view({"post": "preview"})),
    path(f"{INTERNAL}/plan-moves/<str:move_id>", PlanMoveViewSet.as_view({"get": "retrieve"})),
    path(f"{INTERNAL}/plan-moves/<str:move_id>/items", PlanMoveViewSet.as_view({"get": "items"})),
]
