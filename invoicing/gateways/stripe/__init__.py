"""
Stripe: an adapter of the port, over its own library with a pinned version of its API.

Every object made there carries `billing_account_id` and the public id of our row in its metadata. Amounts are mapped in
`money`, refusals in `declines`, failures in `client`; nothing else here knows how Stripe speaks of them.
Source: ADR 0054.
"""

from __future__ import annotations

from invoicing.gateways.stripe.billed import Billed
from invoicing.gateways.stripe.methods import Methods
from invoicing.gateways.stripe.money_back import MoneyBack
from invoicing.gateways.stripe.pages import Pages
from invoicing.gateways.stripe.payments import Payments
from invoicing.gateways.stripe.payouts import Payouts
from invoicing.gateways.stripe.setups import Setups
from invoicing.gateways.stripe.usage import Usage

__all__ = ["StripeGateway"]


class StripeGateway(Methods, Payments, Setups, Pages, MoneyBack, Payouts, Usage, Billed):
    """One mode of one Stripe account. :raises NoProcessorAvailable: without a secret key of that mode."""

    name = "stripe"
