"""Disputes: what is held, what comes back and what is lost, however and in whatever order it is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.test import override_settings

from accounts.models import LedgerKind
from accounts.queries.proof import prove_ledger
from accounts.services.corrections import AmountExceedsRefundable
from billing_site.kernel.errors import InvalidState, ValidationFailed
from billing_site.kernel.money import Money
from billing_site.platform.models import Event, Notice, WorkItem
from invoicing.gateways.local import LocalGateway
from invoicing.gateways.orders import DisputeState
from invoicing.models import Dispute, Invoice, LocalProviderObject, PaymentIntent
from invoicing.services.dispute_alarms import warn_of_deadlines
from invoicing.services.dispute_answers import AnswerRefused, accept_dispute, hand_in_evidence
from invoicing.services.disputes import record_dispute
from invoicing.services.local_news import tell_local_news
from invoicing.services.refunds import AskedRefund, create_refund
from tests.invoicing.test_credit_notes import platform
from tests.support.card_payments import BY, LATER, PAID, make_card_paid
from tests.support.world import TESTER

pytestmark = pytest.mark.django_db
DUE = LATER + timedelta(days=10)


def tell(intent: PaymentIntent, status: str = "needs_response", amount: int = 1000, **more: Any) -> Dispute:
    """Let the provider say how a dispute of a payment stands."""
    values: dict[str, Any] = {"reason": "fraudulent", "fee": 150, "evidence_due_by": DUE} | more
    state = DisputeState(
        ref="dp_1", status=status, amount=Money(amount, "usd"), payment_ref=intent.provider_ref, **values
    )
    dispute = record_dispute(state=state, provider_type="local", **BY)
    assert dispute is not None
    return Dispute.objects.get(pk=dispute.pk)


def books() -> tuple[int, int, int, int]:
    """Return cash, held, bad debt and fees of the platform."""
    kinds = (LedgerKind.CASH, LedgerKind.DISPUTES_HELD, LedgerKind.BAD_DEBT, LedgerKind.FEES)
    return tuple(platform(kind) for kind in kinds)  # type: ignore[return-value]


def told() -> list[str]:
    return list(Event.objects.filter(type__startswith="dispute.").order_by("id").values_list("type", flat=True))


def open_there(*, is_inquiry: bool = False) -> tuple[Dispute, Invoice]:
    """Dispute a card's payment at the local provider and hear of it."""
    invoice, intent = make_card_paid()
    state = LocalGateway().open_dispute(payment_ref=intent.provider_ref, is_inquiry=is_inquiry)
    dispute = record_dispute(state=state, provider_type="local", **BY)
    assert dispute is not None
    Dispute.objects.filter(pk=dispute.pk).update(evidence_due_by=DUE)
    return Dispute.objects.get(pk=dispute.pk), invoice


class TestRecording:
    def test_holds_the_money_and_leaves_the_invoice_paid(self) -> None:
        invoice, intent = make_card_paid()
        dispute = tell(intent)
        assert (dispute.status, dispute.held, dispute.amount) == ("needs_response", 1000, 1000)
        assert books() == (0, 1000, 0, 0)
        invoice.refresh_from_db()
        assert invoice.status == "paid"
        assert told() == ["dispute.created"]
        assert WorkItem.objects.get().kind == "invoicing.dispute_opened"
        assert prove_ledger().holds

    def test_of_a_part_holds_that_part(self) -> None:
        _, intent = make_card_paid()
        tell(intent, amount=300)
        assert books() == (700, 300, 0, 0)

    def test_won_returns_what_was_held(self) -> None:
        _, intent = make_card_paid()
        tell(intent)
        dispute = tell(intent, "won")
        assert (dispute.held, dispute.closed_at) == (0, LATER)
        assert books() == (1000, 0, 0, 0)
        assert told() == ["dispute.created", "dispute.updated", "dispute.won"]
        assert {item.status for item in WorkItem.objects.all()} == {"done"}
        assert prove_ledger().holds

    def test_lost_writes_it_off_and_costs_the_fee(self) -> None:
        invoice, intent = make_card_paid()
        tell(intent)
        tell(intent, "lost")
        # 10.00 came; 10.00 are lost and 1.50 is the fee
        assert books() == (-150, 0, 1000, 150)
        invoice.refresh_from_db()
        assert invoice.status == "paid"
        assert WorkItem.objects.get(status="open").kind == "invoicing.dispute_lost"
        assert prove_ledger().holds

    def test_first_heard_of_when_it_is_lost(self) -> None:
        _, intent = make_card_paid()
        tell(intent, "lost", fee=0)
        assert books() == (0, 0, 1000, 0)
        assert told() == ["dispute.created", "dispute.lost"]
        assert prove_ledger().holds

    def test_an_inquiry_holds_nothing_until_it_becomes_a_dispute(self) -> None:
        _, intent = make_card_paid()
        tell(intent, "warning_needs_response")
        tell(intent, "warning_under_review")
        assert books() == (1000, 0, 0, 0)
        tell(intent, "needs_response", 900)
        assert books() == (100, 900, 0, 0)
        tell(intent, "won", 900)
        assert books() == (1000, 0, 0, 0)

    def test_an_inquiry_that_ends_moved_no_money(self) -> None:
        _, intent = make_card_paid()
        tell(intent, "warning_needs_response")
        dispute = tell(intent, "warning_closed")
        assert (dispute.is_decided, books()) == (True, (1000, 0, 0, 0))
        assert told()[-1] == "dispute.closed"

    def test_an_amount_that_changes_is_held_anew(self) -> None:
        _, intent = make_card_paid()
        tell(intent, fee=0)
        tell(intent, amount=600, fee=0)
        assert books() == (400, 600, 0, 0)
        tell(intent, "lost", 600, fee=0)
        assert books() == (400, 0, 600, 0)
        assert prove_ledger().holds

    def test_the_same_again_and_what_is_older_change_nothing(self) -> None:
        _, intent = make_card_paid()
        for status in ("needs_response", "under_review", "under_review", "needs_response", "won", "needs_response"):
            tell(intent, status)
        assert Dispute.objects.get().status == "won"
        assert told() == ["dispute.created", "dispute.updated", "dispute.updated", "dispute.won"]
        assert books() == (1000, 0, 0, 0)

    def test_two_decisions_are_a_matter_for_people(self) -> None:
        _, intent = make_card_paid()
        for status in ("needs_response", "won", "lost"):
            tell(intent, status)
        assert Dispute.objects.get().status == "won"
        assert WorkItem.objects.get(status="open").kind == "invoicing.dispute_contradicted"

    def test_of_a_payment_that_is_not_known_is_told(self) -> None:
        state = DisputeState("dp_x", "needs_response", Money(1, "usd"), payment_ref="unknown")
        assert record_dispute(state=state, provider_type="local", **BY) is None
        assert WorkItem.objects.get().kind == "invoicing.dispute_unknown"


class TestRefundsMeanwhile:
    @pytest.mark.parametrize(("status", "left"), [("needs_response", 400), ("lost", 400), ("won", 1000)])
    def test_give_back_what_is_not_disputed(self, status: str, left: int) -> None:
        _, intent = make_card_paid()
        tell(intent, amount=600)
        tell(intent, status, amount=600)
        intent.refresh_from_db()
        assert intent.amount_refundable == left
        with pytest.raises(AmountExceedsRefundable):
            create_refund(intent_id=intent.pk, asked=AskedRefund(amount=left + 1), **BY)
        create_refund(intent_id=intent.pk, asked=AskedRefund(amount=left), **BY)

    def test_of_an_inquiry_are_still_possible(self) -> None:
        _, intent = make_card_paid()
        tell(intent, "warning_needs_response")
        assert create_refund(intent_id=intent.pk, asked=AskedRefund(), **BY).refunds[0].amount == 1000


class TestAnswering:
    def test_evidence_goes_to_the_provider_and_is_under_review(self) -> None:
        dispute, _ = open_there()
        answered = hand_in_evidence(dispute_id=dispute.pk, evidence={"customer_name": "Ada"}, **BY)
        assert (answered.status, answered.submitted_at, answered.pending_call) == ("under_review", LATER, "")
        there = LocalGateway().fetch_dispute(dispute_ref=dispute.provider_ref)
        assert (there.status, there.evidence) == ("under_review", {"customer_name": "Ada"})
        with pytest.raises(InvalidState):
            hand_in_evidence(dispute_id=dispute.pk, evidence={}, **BY)

    def test_evidence_can_be_kept_first(self) -> None:
        dispute, _ = open_there(is_inquiry=True)
        kept = hand_in_evidence(dispute_id=dispute.pk, evidence={"customer_name": "Ada"}, submit=False, **BY)
        assert (kept.status, kept.submitted_at) == ("warning_needs_response", None)
        done = hand_in_evidence(dispute_id=dispute.pk, evidence={"service_date": "November"}, **BY)
        assert (done.status, done.evidence) == (
            "warning_under_review",
            {"customer_name": "Ada", "service_date": "November"},
        )

    def test_after_the_deadline_is_refused(self) -> None:
        dispute, _ = open_there()
        with pytest.raises(InvalidState, match="deadline"):
            hand_in_evidence(dispute_id=dispute.pk, evidence={}, at=DUE, actor=TESTER)

    def test_of_an_unknown_kind_is_refused(self) -> None:
        dispute, _ = open_there()
        with pytest.raises(ValidationFailed):
            hand_in_evidence(dispute_id=dispute.pk, evidence={"shoe_size": "44"}, **BY)

    def test_refused_by_the_provider_is_kept_and_what_it_knows_taken_over(self) -> None:
        dispute, _ = open_there()
        LocalGateway().decide_dispute(dispute_ref=dispute.provider_ref, won=False)
        with pytest.raises(AnswerRefused, match="takes no evidence any more"):
            hand_in_evidence(dispute_id=dispute.pk, evidence={"customer_name": "Ada"}, **BY)
        dispute.refresh_from_db()
        assert (dispute.evidence, dispute.pending_call, dispute.status) == ({"customer_name": "Ada"}, "", "lost")
        assert dispute.call_error
        assert prove_ledger().holds

    def test_accepting_loses_it(self) -> None:
        dispute, _ = open_there()
        assert accept_dispute(dispute_id=dispute.pk, reason="Not worth it", **BY).status == "lost"
        assert books() == (0, 0, 1000, 0)
        with pytest.raises(InvalidState):
            accept_dispute(dispute_id=dispute.pk, **BY)

    def test_accepting_an_inquiry_closes_it(self) -> None:
        dispute, _ = open_there(is_inquiry=True)
        assert accept_dispute(dispute_id=dispute.pk, **BY).status == "warning_closed"
        assert books() == (1000, 0, 0, 0)


class TestDeadlines:
    @override_settings(BILLING_FINANCE_EMAIL="finance@seller.example")
    def test_are_told_three_days_and_one_day_before_once_each(self) -> None:
        dispute, _ = open_there()
        steps = [warn_of_deadlines(at=DUE - timedelta(hours=hours)) for hours in (73, 72, 71, 25, 24, 1)]
        assert steps == [0, 1, 0, 0, 1, 0]
        mails = Notice.objects.filter(about=dispute.public_id).order_by("key")
        assert [(mail.recipient, mail.key.rpartition(":")[2]) for mail in mails] == [
            ("finance@seller.example", "1"),
            ("finance@seller.example", "3"),
        ]
        item = WorkItem.objects.get(kind="invoicing.dispute_deadline")
        assert (item.severity, item.occurrences) == ("critical", 2)

    def test_a_sweep_that_comes_late_tells_once(self) -> None:
        open_there()
        assert [warn_of_deadlines(at=DUE - timedelta(hours=2)) for _ in range(2)] == [1, 0]

    def test_answered_disputes_are_quiet(self) -> None:
        dispute, _ = open_there()
        hand_in_evidence(dispute_id=dispute.pk, evidence={}, **BY)
        assert warn_of_deadlines(at=DUE - timedelta(hours=2)) == 0


def test_a_card_that_disputes_later_tells_by_itself() -> None:
    _, intent = make_card_paid(card="disputelater")
    due = LocalProviderObject.objects.get(ref=intent.provider_ref).due_at
    assert due is not None
    assert tell_local_news(at=due - timedelta(seconds=1)) == 0
    assert [tell_local_news(at=due) for _ in range(2)] == [1, 0]
    dispute = Dispute.objects.get()
    assert (dispute.payment_intent, dispute.status, dispute.amount) == (intent, "needs_response", 1000)
    assert due > PAID


def test_what_the_provider_says_is_replaced_not_merged() -> None:
    _, intent = make_card_paid()
    dispute = tell(intent)
    state = DisputeState("dp_1", "needs_response", Money(1000, "usd"), evidence_due_by=DUE + timedelta(days=1))
    record_dispute(state=replace(state, payment_ref=intent.provider_ref), provider_type="local", **BY)
    dispute.refresh_from_db()
    assert dispute.evidence_due_by == DUE + timedelta(days=1)
