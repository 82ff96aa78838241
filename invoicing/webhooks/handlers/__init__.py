"""One module per noun; each lists the types of events it handles. What is in none of them is kept and not applied."""

from __future__ import annotations

from typing import Final

from invoicing.webhooks.handlers import (
    checkouts,
    customers,
    disputes,
    invoices,
    payment_methods,
    payments,
    payouts,
    refunds,
    setups,
    subscriptions,
)
from invoicing.webhooks.handling import Handler

_MODULES: Final = (
    checkouts,
    customers,
    disputes,
    invoices,
    payment_methods,
    payments,
    payouts,
    refunds,
    setups,
    subscriptions,
)
HANDLERS: Final[dict[str, Handler]] = {
    type: handler for module in _MODULES for type, handler in module.HANDLERS.items()
}
