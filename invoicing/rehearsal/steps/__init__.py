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
from invoicing.rehearsal.steps.cancellations import Cancel, Reactivate
from invoicing.rehearsal.steps.catalogs import PublishCatalog
from invoicing.rehearsal.steps.credits import AdjustBalance, GrantCredit
from invoicing.rehearsal.steps.cycles import RunCycle
from invoicing.rehearsal.steps.deposits import Deposit
from invoicing.rehearsal.steps.invoices import VoidInvoice
from invoicing.rehearsal.steps.prices import MovePrice, OverridePrice
from invoicing.rehearsal.steps.subscriptions import Subscribe
from invoicing.rehearsal.steps.usage import ReportUsage
from invoicing.rehearsal.story import Action

Reader = Callable[[Fields, Scope], Action]

VERBS: Final[Mapping[str, Reader]] = {
    "adjust_balance": AdjustBalance.read,
    "cancel": Cancel.read,
    "deposit": Deposit.read,
    "grant_credit": GrantCredit.read,
    "move_price": MovePrice.read,
    "override_price": OverridePrice.read,
    "publish_catalog": PublishCatalog.read,
    "reactivate": Reactivate.read,
    "run_cycle": RunCycle.read,
    "subscribe": Subscribe.read,
    "usage": ReportUsage.read,
    "void_invoice": VoidInvoice.read,
}

# Verbs of the format whose features this version does not have.
NOT_YET: Final = frozenset(
    """
    add_line change_plan change_quantity credit_note discount pause pay
    payment_method payment_result redeem refund resume schedule
    """.split()
)
