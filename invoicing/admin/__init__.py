"""Admin pages of invoicing."""

from invoicing.admin import panels, provider_copy
from invoicing.admin.bank_transfer import BankTransferAdmin, BankTransferInstructionAdmin
from invoicing.admin.billing_job import BillingJobAdmin
from invoicing.admin.credit_note import CreditNoteAdmin
from invoicing.admin.dispute import DisputeAdmin
from invoicing.admin.dunning_campaign import DunningCampaignAdmin
from invoicing.admin.dunning_case import DunningCaseAdmin
from invoicing.admin.inbound_event import InboundEventAdmin, ProviderInvoiceAdmin
from invoicing.admin.invoice import InvoiceAdmin
from invoicing.admin.invoice_item import InvoiceItemAdmin
from invoicing.admin.manual_payment import ManualPaymentAdmin
from invoicing.admin.payment_intent import PaymentIntentAdmin
from invoicing.admin.payout import PayoutAdmin
from invoicing.admin.plan_move import PlanMoveAdmin
from invoicing.admin.reconciliation import DriftAdmin, ReconciliationRunAdmin
from invoicing.admin.refund import RefundAdmin
from invoicing.admin.review import InvoiceReviewAdmin
from invoicing.admin.run import BillingRunAdmin
from invoicing.admin.seller import SellerAdmin

panels.register()
provider_copy.register_pages()

__all__ = [
    "BankTransferAdmin",
    "BankTransferInstructionAdmin",
    "BillingJobAdmin",
    "BillingRunAdmin",
    "CreditNoteAdmin",
    "DisputeAdmin",
    "DriftAdmin",
    "DunningCampaignAdmin",
    "DunningCaseAdmin",
    "InboundEventAdmin",
    "InvoiceAdmin",
    "InvoiceItemAdmin",
    "InvoiceReviewAdmin",
    "ManualPaymentAdmin",
    "PaymentIntentAdmin",
    "PayoutAdmin",
    "PlanMoveAdmin",
    "ProviderInvoiceAdmin",
    "ReconciliationRunAdmin",
    "RefundAdmin",
    "SellerAdmin",
]
