"""The command finds what was changed behind the triggers in everything that invoices and stored money share."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

import pytest
from django.core.management import CommandError, call_command

from accounts.models import CreditGrant, LedgerAccount, SubscriptionDiscount
from accounts.services.coupons import redeem_coupon
from accounts.services.credit_grants import grant_credit
from accounts.services.deposits import deposit
from accounts.services.discounts import give_discount
from catalog.models import Coupon
from catalog.services.coupons import create_coupon
from invoicing.models import Invoice, InvoiceCredit, PendingCharge
from invoicing.services.changes import ChangeRequest, change_subscription
from invoicing.services.invoices import void_invoice
from tests.accounts.queries.test_proof import tamper
from tests.support import world
from tests.support.world import DECEMBER, NOVEMBER, TESTER

pytestmark = pytest.mark.django_db
MIDDLE: Final = NOVEMBER + timedelta(days=15)


@pytest.fixture(autouse=True)
def _world() -> None:
    """
    Three invoices: the first paid by nothing, the second by a grant and prepaid money, the third void.

    The second has a charge that waited and one of the three months of a discount.
    """
    world.publish()
    account = world.open_account()
    subscription = world.subscribe(account, "pro")
    common: dict[str, Any] = {"account": account, "currency": "usd", "at": MIDDLE, "actor": TESTER}
    give_discount(subscription_id=subscription.id, percent_off=Decimal(10), duration_months=3, at=MIDDLE, actor=TESTER)
    change_subscription(
        subscription_id=subscription.id,
        request=ChangeRequest(quantity=2, proration_behavior="create_prorations"),
        at=MIDDLE,
        actor=TESTER,
    )
    grant_credit(amount=300, **common)
    deposit(amount=400, **common)
    world.run_cycle(as_of=DECEMBER)
    deposit(amount=150, **common)
    world.run_cycle(as_of=DECEMBER + timedelta(days=31))
    void_invoice(invoice_id=get_invoice(3).id, at=DECEMBER + timedelta(days=40), actor=TESTER)
    create_coupon(
        org_id=account.org_id,
        code="GIFT",
        discount_type="credit",
        discount_value=Decimal(100),
        currency="usd",
        at=MIDDLE,
        actor=TESTER,
    )
    redeem_coupon(subscription_id=subscription.id, code="gift", at=DECEMBER, actor=TESTER)


def get_invoice(number: int) -> Invoice:
    return Invoice.objects.get(number=number)


def list_credits(number: int) -> list[InvoiceCredit]:
    return list(InvoiceCredit.objects.filter(invoice__number=number).order_by("position"))


def test_holds_for_what_the_services_wrote(capsys: pytest.CaptureFixture[str]) -> None:
    assert [credit.amount for credit in list_credits(2)] == [300, 400]
    assert [credit.amount for credit in list_credits(3)] == [150]
    assert PendingCharge.objects.filter(invoice=get_invoice(2)).count() == 2
    assert SubscriptionDiscount.objects.get().months_left == 2  # of three; the void invoice gave its month back
    call_command("prove_ledger")
    assert "The ledger holds" in capsys.readouterr().out


TAMPERING: Final[dict[str, tuple[Callable[[], str], str]]] = {
    "more applied than paid": (
        lambda: get_invoice(2).public_id,
        "UPDATE invoices SET credit_applied = credit_applied + 1, amount_due = amount_due - 1 WHERE number = 2",
    ),
    "a credit removed": (
        lambda: get_invoice(2).public_id,
        "DELETE FROM invoice_credits WHERE amount = 400",
    ),
    "a credit and its invoice lowered together": (
        lambda: list_credits(2)[1].public_id,
        "UPDATE invoice_credits SET amount = 399 WHERE amount = 400; "
        "UPDATE invoices SET credit_applied = credit_applied - 1 WHERE number = 2",
    ),
    "a credit booked by another entry": (
        lambda: list_credits(2)[0].public_id,
        "UPDATE invoice_credits SET entry_id = (SELECT entry_id FROM invoice_credits WHERE amount = 400)",
    ),
    "a void invoice whose money did not come back": (
        lambda: get_invoice(2).public_id,
        "UPDATE invoices SET status = 'void', voided_at = finalized_at WHERE number = 2; "
        "UPDATE subscription_discounts SET months_left = 3",
    ),
    "months of a discount": (
        lambda: SubscriptionDiscount.objects.get().public_id,
        "UPDATE subscription_discounts SET months_left = 3",
    ),
    "an invoice that hides the month it used": (
        lambda: SubscriptionDiscount.objects.get().public_id,
        "UPDATE invoices SET subscription_discount_id = NULL WHERE number = 2",
    ),
    "a waiting charge put on an invoice that does not have it": (
        lambda: PendingCharge.objects.order_by("id")[0].public_id,
        "UPDATE pending_charges SET invoice_id = (SELECT id FROM invoices WHERE number = 1)",
    ),
    "another amount in a charge that was billed": (
        lambda: PendingCharge.objects.order_by("id")[1].public_id,
        "UPDATE pending_charges SET facts = jsonb_set(facts, '{quantity}', '\"9\"') "
        "WHERE id = (SELECT id FROM pending_charges ORDER BY id DESC LIMIT 1)",
    ),
    "uses of a coupon": (
        lambda: Coupon.objects.get().public_id,
        "UPDATE coupons SET redemption_count = 0",
    ),
    "a redemption removed": (
        lambda: Coupon.objects.get().public_id,
        "DELETE FROM coupon_redemptions",
    ),
    "a burn of a grant removed": (
        lambda: CreditGrant.objects.order_by("id")[0].public_id,
        "DELETE FROM credit_burns",
    ),
    "credit of a grant made up": (
        lambda: LedgerAccount.objects.get(kind="credit_grants").public_id,
        "UPDATE credit_grants SET amount = amount + 5, remaining = remaining + 5",
    ),
}


@pytest.mark.parametrize("what", TAMPERING)
def test_names_the_first_wrong_row_and_exits_with_1(what: str) -> None:
    find_row, statements = TAMPERING[what]
    row = find_row()
    tamper(*statements.split("; "))
    with pytest.raises(CommandError) as refusal:
        call_command("prove_ledger")
    assert str(refusal.value).startswith(f"The ledger does not hold. {row}: ")
    assert refusal.value.returncode == 1
