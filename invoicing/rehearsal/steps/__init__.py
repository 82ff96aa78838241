"""
The verbs of a story, one small class each, in modules named after their noun.

To add a verb: write a frozen dataclass with `account`, `describe()` and `play(world)` (see `story.Action`) and a
`read` that makes it of its block, enter it in `VERBS`, and take its name out of `NOT_YET`. `read` asks `fields` for
every key it knows; whatever it does not ask for is refused as unknown, keys in `not_yet` by their name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from invoicing.rehearsal.fields import Fields
from invoicing.rehearsal.scope import Scope
from invoicing.rehearsal.steps.alerts import AlertStep
from invoicing.rehearsal.steps.bank_transfers import ReceiveBankTransfer
from invoicing.rehearsal.steps.cancellations import Cancel, Reactivate
from invoicing.rehearsal.steps.catalogs import PublishCatalog
from invoicing.rehearsal.steps.changes import Change
from invoicing.rehearsal.steps.cost_centers import AddCostCenter
from invoicing.rehearsal.steps.credit_notes import IssueCreditNote, VoidCreditNote
from invoicing.rehearsal.steps.credits import AdjustBalance, GrantCredit
from invoicing.rehearsal.steps.cycles import RunCycle
from invoicing.rehearsal.steps.deposits import Deposit
from invoicing.rehearsal.steps.discounts import Discount, Redeem
from invoicing.rehearsal.steps.drafts import ActOnInvoice, AddLine, CreateInvoice, DiscountInvoice, RemoveLine
from invoicing.rehearsal.steps.dunning import SetDunning
from invoicing.rehearsal.steps.invoices import Pay, VoidInvoice
from invoicing.rehearsal.steps.items import ChangeParts
from invoicing.rehearsal.steps.manual_payments import RecordPayment, ReversePayment
from invoicing.rehearsal.steps.pauses import ExtendTrial, Pause, Resume
from invoicing.rehearsal.steps.payment_methods import PaymentMethodStep
from invoicing.rehearsal.steps.prices import MovePrice, OverridePrice
from invoicing.rehearsal.steps.refunds import DisputePayment, Refund
from invoicing.rehearsal.steps.reviews import Decide
from invoicing.rehearsal.steps.schedules import PlanPhases
from invoicing.rehearsal.steps.subscriptions import Subscribe
from invoicing.rehearsal.steps.usage import ReportUsage
from invoicing.rehearsal.steps.usage_corrections import CorrectUsage
from invoicing.rehearsal.story import Action

Reader = Callable[[Fields, Scope], Action]

VERBS: Final[Mapping[str, Reader]] = {
    "add_item": ChangeParts.read_add,
    "change_item": ChangeParts.read_change,
    "remove_item": ChangeParts.read_remove,
    "add_line": AddLine.read,
    "adjust_balance": AdjustBalance.read,
    "alert": AlertStep.read,
    "amend_usage": CorrectUsage.read_amend,
    "bank_transfer": ReceiveBankTransfer.read,
    "cancel": Cancel.read,
    "change_plan": Change.read_plan,
    "change_quantity": Change.read_quantity,
    "cost_center": AddCostCenter.read,
    "create_invoice": CreateInvoice.read,
    "credit_note": IssueCreditNote.read,
    "deposit": Deposit.read,
    "discard": Decide.read_discard,
    "dispute": DisputePayment.read,
    "discount": Discount.read,
    "discount_invoice": DiscountInvoice.read,
    "dunning": SetDunning.read,
    "extend_trial": ExtendTrial.read,
    "finalize_invoice": ActOnInvoice.reader("finalize_invoice"),
    "grant_credit": GrantCredit.read,
    "manual_payment": RecordPayment.read,
    "mark_uncollectible": ActOnInvoice.reader("mark_uncollectible"),
    "move_price": MovePrice.read,
    "override_price": OverridePrice.read,
    "pause": Pause.read,
    "pay": Pay.read,
    "payment_method": PaymentMethodStep.read,
    "publish_catalog": PublishCatalog.read,
    "reactivate": Reactivate.read,
    "redeem": Redeem.read,
    "refund": Refund.read,
    "reissue_invoice": ActOnInvoice.reader("reissue_invoice"),
    "release": Decide.read_release,
    "remove_line": RemoveLine.read,
    "resume": Resume.read,
    "reverse_manual_payment": ReversePayment.read,
    "run_cycle": RunCycle.read,
    "schedule": PlanPhases.read,
    "subscribe": Subscribe.read,
    "usage": ReportUsage.read,
    "void_credit_note": VoidCreditNote.read,
    "void_invoice": VoidInvoice.read,
    "void_usage": CorrectUsage.read_void,
}

# Verbs of the format whose features this version does not have.
NOT_YET: Final = frozenset(
    """
    payment_result
    """.split()
)
