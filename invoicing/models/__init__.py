"""Tables of billing runs and documents."""

from invoicing.models.billing_job import BillingJob, BillingJobChunk, JobFormat, JobKind, JobStatus
from invoicing.models.credit_note import (
    CreditNote,
    CreditNoteDocument,
    CreditNoteLine,
    CreditNoteStatus,
    CreditNoteTax,
    CreditReason,
    Disposition,
)
from invoicing.models.invoice import (
    DocumentKind,
    Invoice,
    InvoiceDocument,
    InvoiceLine,
    InvoiceStatus,
    LineType,
)
from invoicing.models.invoice_credit import CreditSource, InvoiceCredit
from invoicing.models.invoice_member import InvoiceMember
from invoicing.models.invoice_tax import InvoiceTax
from invoicing.models.line_split import InvoiceLineSplit
from invoicing.models.payment_intent import (
    ENDED_STATUSES,
    UNSETTLED_STATUSES,
    CaptureMethod,
    IntentPurpose,
    IntentStatus,
    PaymentAllocation,
    PaymentIntent,
    PendingCall,
)
from invoicing.models.pending_charge import PendingCharge
from invoicing.models.plan_move import MoveOutcome, MoveStatus, MoveTiming, PlanMove, PlanMoveItem
from invoicing.models.provider_customer import LocalProviderObject, ProviderCustomer
from invoicing.models.revenue import RevenueRelease, RevenueSchedule
from invoicing.models.review import InvoiceReview, ReviewReason, ReviewStatus
from invoicing.models.run import (
    BillingRun,
    OutcomeStatus,
    RunOutcome,
    RunScope,
    RunStatus,
)
from invoicing.models.seller import (
    IntervalChange,
    LogoFormat,
    NumberCounter,
    Numbering,
    PauseCredit,
    RoundingRule,
    Seller,
    SellerAssignment,
    SellerLogo,
    TaxMode,
    UnusedTime,
)

__all__ = [
    "ENDED_STATUSES",
    "UNSETTLED_STATUSES",
    "BillingJob",
    "BillingJobChunk",
    "BillingRun",
    "CaptureMethod",
    "CreditNote",
    "CreditNoteDocument",
    "CreditNoteLine",
    "CreditNoteStatus",
    "CreditNoteTax",
    "CreditReason",
    "CreditSource",
    "Disposition",
    "DocumentKind",
    "IntentPurpose",
    "IntentStatus",
    "IntervalChange",
    "Invoice",
    "InvoiceCredit",
    "InvoiceDocument",
    "InvoiceLine",
    "InvoiceLineSplit",
    "InvoiceMember",
    "InvoiceReview",
    "InvoiceStatus",
    "InvoiceTax",
    "JobFormat",
    "JobKind",
    "JobStatus",
    "LineType",
    "LocalProviderObject",
    "LogoFormat",
    "MoveOutcome",
    "MoveStatus",
    "MoveTiming",
    "NumberCounter",
    "Numbering",
    "OutcomeStatus",
    "PauseCredit",
    "PaymentAllocation",
    "PaymentIntent",
    "PendingCall",
    "PendingCharge",
    "PlanMove",
    "PlanMoveItem",
    "ProviderCustomer",
    "RevenueRelease",
    "RevenueSchedule",
    "ReviewReason",
    "ReviewStatus",
    "RoundingRule",
    "RunOutcome",
    "RunScope",
    "RunStatus",
    "Seller",
    "SellerAssignment",
    "SellerLogo",
    "TaxMode",
    "UnusedTime",
]
