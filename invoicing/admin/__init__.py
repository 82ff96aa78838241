"""Admin pages of invoicing."""

from invoicing.admin import panels
from invoicing.admin.credit_note import CreditNoteAdmin
from invoicing.admin.invoice import InvoiceAdmin
from invoicing.admin.plan_move import PlanMoveAdmin
from invoicing.admin.review import InvoiceReviewAdmin
from invoicing.admin.run import BillingRunAdmin
from invoicing.admin.seller import SellerAdmin

panels.register()

__all__ = [
    "BillingRunAdmin",
    "CreditNoteAdmin",
    "InvoiceAdmin",
    "InvoiceReviewAdmin",
    "PlanMoveAdmin",
    "SellerAdmin",
]
