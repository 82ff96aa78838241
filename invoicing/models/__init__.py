"""Tables of billing runs and documents."""

from invoicing.models.invoice import (
    DocumentKind,
    Invoice,
    InvoiceDocument,
    InvoiceLine,
    InvoiceStatus,
    LineType,
)
from invoicing.models.run import (
    BillingRun,
    OutcomeStatus,
    RunOutcome,
    RunScope,
    RunStatus,
)
from invoicing.models.seller import NumberCounter, RoundingRule, Seller

__all__ = [
    "BillingRun",
    "DocumentKind",
    "Invoice",
    "InvoiceDocument",
    "InvoiceLine",
    "InvoiceStatus",
    "LineType",
    "NumberCounter",
    "OutcomeStatus",
    "RoundingRule",
    "RunOutcome",
    "RunScope",
    "RunStatus",
    "Seller",
]
