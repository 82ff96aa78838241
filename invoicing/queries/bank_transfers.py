"""Bank transfer instructions as callers see them."""

from __future__ import annotations

from django.db.models import QuerySet

from accounts.models import Account
from accounts.queries.access import visible_accounts
from billing_site.kernel.actors import Principal
from billing_site.kernel.errors import NotFound
from invoicing.models import BankTransferInstruction


def list_instructions(accounts: QuerySet[Account], *, status: str | None = None) -> QuerySet[BankTransferInstruction]:
    """Return the instructions of `accounts`, all or those in one status."""
    rows = BankTransferInstruction.objects.select_related("account").filter(account__in=accounts.order_by())
    return rows if status is None else rows.filter(status=status)


def get_visible_instruction(principal: Principal, reference: str) -> BankTransferInstruction:
    """
    Return an instruction by its id.

    :raises NotFound: if the caller sees none.
    """
    key = BankTransferInstruction.parse_id(reference)
    rows = list_instructions(visible_accounts(principal))
    found = None if key is None else rows.filter(pk=key).first()
    if found is None:
        raise NotFound("bank_transfer_instruction")
    return found
