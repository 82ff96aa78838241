"""Money that goes back while processes die and answers are lost: once, and booked."""

from __future__ import annotations

from typing import Any

import pytest

from billing_site.kernel import clock
from billing_site.kernel.errors import DomainError
from invoicing.models import Refund
from invoicing.services.collecting import collect_invoice
from invoicing.services.refund_sending import send_refund, sweep_refunds
from invoicing.services.refunds import AskedRefund, create_refund
from tests.faults.paying import list_returned, make_due, require_same_money
from tests.faults.product_processes import Processes
from tests.faults.product_worker import ELEVEN_MINUTES
from tests.stripe_server import StripeServer
from tests.support import world
from tests.support.world import TESTER

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def refund(stripe: StripeServer) -> Refund:
    """4.00 of a paid invoice that are to go back; the provider was not asked yet."""
    world.publish()
    invoice = make_due()
    collect_invoice(invoice_id=invoice.pk, at=clock.now(), actor=TESTER)
    (made,) = create_refund(
        invoice_id=invoice.pk, asked=AskedRefund(amount=400), at=clock.now(), actor=TESTER, reason="As agreed"
    ).refunds
    return made


@pytest.mark.parametrize(
    ("dies", "given"),
    [
        ({"call": "refund", "when": "before"}, 0),
        ({"call": "refund", "when": "after"}, 400),
        ({"call": "record_refund", "statement": 6}, 400),
    ],
    ids=["before", "after", "recording"],
)
def test_a_killed_process_gives_back_once(
    stripe: StripeServer, processes: Processes, refund: Refund, dies: dict[str, Any], given: int
) -> None:
    processes.die("send_refund", refund=str(refund.pk), dies=dies)
    assert sum(list_returned(stripe).values()) == given
    assert processes.run("settle")["refunds"] == 1
    refund.refresh_from_db()
    assert refund.status == "succeeded"
    require_same_money(stripe)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("trouble", ["drop", 500])
def test_a_lost_answer_gives_back_once(stripe: StripeServer, refund: Refund, trouble: Any, moment: Any) -> None:
    if trouble == "drop":
        stripe.drop_next(path="/v1/refunds", method="POST", moment=moment)
    else:
        stripe.fail_next(500, path="/v1/refunds", method="POST", moment=moment)
    with pytest.raises(DomainError, match="Stripe failed or did not answer"):
        send_refund(refund_id=refund.pk, at=clock.now())
    assert sweep_refunds(at=clock.now() + ELEVEN_MINUTES) == 1
    refund.refresh_from_db()
    # A failure that the key remembers is told to people; everything else goes on by itself.
    assert refund.status == ("failed" if (trouble, moment) == (500, "before") else "succeeded")
    require_same_money(stripe)
    assert sweep_refunds(at=clock.now() + ELEVEN_MINUTES) == 0
