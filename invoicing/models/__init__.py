"""Tables of billing runs and documents."""

from invoicing.models.invoice import (
    DocumentKind,
    Invoice,
    InvoiceDocument,
    InvoiceLine,
    InvoiceStatus,
    LineType,
)
from invoicing.models.plan_move import MoveOutcome, MoveStatus, MoveTiming, PlanMove, PlanMoveItem
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
    "MoveOutcome",
    "MoveStatus",
    "MoveTiming",
    "NumberCounter",
    "OutcomeStatus",
    "PlanMove",
    "PlanMoveItem",
    "RoundingRule",
    "RunOutcome",
    "RunScope",
    "RunStatus",
    "Seller",
]
