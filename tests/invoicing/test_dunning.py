"""Dunning: when an invoice is tried again, what a person and a new card change, what ends it, and what is mailed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core import mail

from accounts.models import Subscription
from accounts.queries.proof import prove_ledger
from accounts.services.deposits import deposit
from accounts.services.payment_methods import set_default_payment_method
from billing_site.kernel.actors import SYSTEM
from billing_site.kernel.errors import InvalidState, ValidationFailed
from billing_site.kernel.periods import Period
from billing_site.platform.models import Event, Notice, WorkItem
from billing_site.platform.services.notices import sweep_notices
from catalog.models import Plan
from invoicing.models import DunningAttempt, DunningCampaign, DunningCase, Invoice, PaymentIntent, Seller
from invoicing.queries.dunning import find_terms
from invoicing.queries.dunning_calendar import load_calendar
from invoicing.services.cancellations import cancel_subscription
from invoicing.services.changes import ChangeRequest, change_subscription
from invoicing.services.collecting import collect_due, collect_invoice
from invoicing.services.dunning_actions import cancel_case, hold_case, resume_case
from invoicing.services.dunning_campaigns import CampaignValues, create_campaign, update_campaign
from invoicing.services.dunning_sweep import sweep_dunning, try_new_methods_of
from invoicing.services.pauses import pause_subscription
from metering.queries.quota_sources import gives_access
from tests.support import world
from tests.support.dunning_states import DAY, HARD, attach_card, fail, open_case, open_invoice, pay
from tests.support.world import NOVEMBER, TESTER

pytestmark = pytest.mark.django_db
FOREVER = NOVEMBER + 40 * DAY


def reload(row: Any) -> Any:
    return type(row).objects.get(pk=row.pk)


def list_types(prefix: str = "") -> list[str]:
    rows = Event.objects.filter(type__startswith=prefix).order_by("created_at", "id")
    return list(rows.values_list("type", flat=True))


def go_on(until: datetime) -> None:
    """Collect what is due at each of its times, up to `until`."""
    while True:
        times = Invoice.objects.filter(next_attempt_at__lte=until).order_by("next_attempt_at")
        if (now := times.values_list("next_attempt_at", flat=True).first()) is None:
            return
        assert collect_due(at=now)
        sweep_dunning(at=now)


def campaign(**values: Any) -> DunningCampaign:
    given: dict[str, Any] = {"name": "Test", "delays_hours": [24], **values}
    return create_campaign(org_id="default", values=CampaignValues(**given), at=NOVEMBER, actor=TESTER)


class TestAttempts:
    def test_are_made_on_days_0_1_4_and_11_and_then_the_subscription_is_unpaid(self) -> None:
        invoice = open_invoice(card="insufficientlater")
        go_on(FOREVER)
        made = DunningAttempt.objects.order_by("made_at")
        assert [(each.step, (each.made_at - NOVEMBER).days, each.outcome) for each in made] == [
            (1, 0, "failed"),
            (2, 1, "failed"),
            (3, 4, "failed"),
            (4, 11, "failed"),
        ]
        assert [each.attempt for each in PaymentIntent.objects.order_by("id")] == [1, 2, 3, 4]
        invoice = reload(invoice)
        assert (invoice.status, invoice.attempt_count, invoice.next_attempt_at) == ("uncollectible", 4, None)
        assert Subscription.objects.get().status == "unpaid"
        assert list_types("subscription.")[-2:] == ["subscription.past_due", "subscription.unpaid"]
        assert DunningCase.objects.get().status == "exhausted"
        assert prove_ledger().fault is None

    def test_leave_a_paid_subscription_active(self) -> None:
        open_invoice()
        go_on(FOREVER)
        assert Subscription.objects.get().status == "active"
        assert not DunningCase.objects.exists()

    def test_by_hand_count_only_when_a_step_is_due(self) -> None:
        case = open_case()
        fail(case.invoice, at=NOVEMBER + timedelta(hours=2))
        case = reload(case)
        assert (case.step, case.next_step_at) == (1, NOVEMBER + DAY)
        assert reload(case.invoice).next_attempt_at == NOVEMBER + DAY
        fail(case.invoice, at=NOVEMBER + DAY + timedelta(hours=3))
        case = reload(case)
        assert (case.step, case.next_step_at) == (2, NOVEMBER + 4 * DAY + timedelta(hours=3))
        assert list(DunningAttempt.objects.order_by("id").values_list("step", flat=True)) == [1, 0, 2]

    def test_nobody_answered_count_as_nothing(self) -> None:
        invoice = open_invoice(card="chargetimeout")
        assert collect_due(at=NOVEMBER)
        assert not DunningCase.objects.exists()
        assert reload(invoice).next_attempt_at is None
        assert not Notice.objects.filter(key__startswith="dunning.mail").exists()
        assert Subscription.objects.get().status == "active"

    def test_begin_nothing_for_who_has_no_method(self) -> None:
        world.publish()
        world.subscribe(world.open_account(), "pro")
        assert fail(Invoice.objects.get(), at=NOVEMBER, reason="") is None
        assert Subscription.objects.get().status == "active"

    def test_begin_nothing_for_a_start_that_waits_for_payment(self) -> None:
        world.publish()
        account = world.open_account()
        attach_card(account)
        world.subscribe(account, "pro", payment_gated=True)
        assert fail(Invoice.objects.get(), at=NOVEMBER) is None
        assert Subscription.objects.get().status == "incomplete"

    def test_keep_access_apart(self, settings: Any) -> None:
        """How long features stay on has nothing to do with how often a card is tried."""
        settings.BILLING_PAST_DUE_GRACE_DAYS = 2
        open_case()
        row = Subscription.objects.values("status", "current_period_start", "provider_features").get()
        for days, expected in ((0, True), (1, True), (2, False), (3, False)):
            standing = {**row, "started_at": NOVEMBER}
            assert _has_access(standing, at=NOVEMBER + days * DAY) is expected
        assert DunningCase.objects.get().status == "running"


def _has_access(row: dict[str, Any], *, at: datetime) -> bool:
    text = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}
    return bool(gives_access(text, at=at))


class TestHardDeclines:
    def test_stop_the_card_but_not_the_days(self) -> None:
        open_invoice(card="expiredlater")
        go_on(FOREVER)
        made = DunningAttempt.objects.order_by("made_at")
        assert [each.outcome for each in made] == ["failed", "not_tried", "not_tried", "not_tried"]
        assert PaymentIntent.objects.count() == 1
        assert Subscription.objects.get().status == "unpaid"

    def test_of_another_card_than_the_usual_one_stop_nothing(self) -> None:
        invoice = open_invoice(card="insufficientlater")
        collect_due(at=NOVEMBER)
        other = attach_card(invoice.account, "expiredlater", at=NOVEMBER + DAY / 2)
        collect_invoice(invoice_id=invoice.pk, at=NOVEMBER + DAY / 2, actor=TESTER, method=other)
        assert DunningCase.objects.get().status == "running"

    def test_let_stored_money_pay_at_the_next_step(self) -> None:
        invoice = open_invoice(card="expiredlater")
        collect_due(at=NOVEMBER)
        deposit(account=invoice.account, amount=1000, currency="usd", at=NOVEMBER, actor=TESTER)
        go_on(FOREVER)
        assert reload(invoice).status == "paid"
        case = DunningCase.objects.get()
        assert (case.status, case.step, case.ended_at) == ("paid", 2, NOVEMBER + DAY)


class TestNewMethods:
    def test_are_charged_at_once_and_each_once(self) -> None:
        invoice = open_invoice(card="expiredlater")
        collect_due(at=NOVEMBER)
        attach_card(invoice.account, "insufficientlater", at=NOVEMBER + DAY / 2)
        assert try_new_methods_of(account_id=invoice.account_id, at=NOVEMBER + DAY / 2) == 1
        case = DunningCase.objects.get()
        assert (case.status, case.step, case.next_step_at) == ("running", 1, NOVEMBER + DAY)
        assert try_new_methods_of(account_id=invoice.account_id, at=NOVEMBER + DAY / 2) == 0
        attach_card(invoice.account, "visa", at=NOVEMBER + DAY * 3 / 4)
        assert sweep_dunning(at=NOVEMBER + DAY) == 1  # the bell was lost: the sweep finds it
        assert reload(invoice).status == "paid"
        assert Subscription.objects.get().status == "active"

    def test_count_when_one_becomes_the_default(self) -> None:
        invoice = open_invoice(card="insufficientlater")
        other = attach_card(invoice.account, "visa", at=world.OCTOBER)
        collect_due(at=NOVEMBER)
        assert try_new_methods_of(account_id=invoice.account_id, at=NOVEMBER + DAY / 2) == 0
        set_default_payment_method(method_id=other.pk, at=NOVEMBER + DAY / 2, actor=TESTER)
        assert try_new_methods_of(account_id=invoice.account_id, at=NOVEMBER + DAY / 2) == 1
        assert reload(invoice).status == "paid"

    def test_pay_an_invoice_that_had_none_when_it_was_issued(self) -> None:
        world.publish()
        account = world.open_account()
        world.subscribe(account, "pro")
        attach_card(account, at=NOVEMBER + DAY)
        assert try_new_methods_of(account_id=account.pk, at=NOVEMBER + DAY) == 1
        assert Invoice.objects.get().status == "paid"

    def test_of_long_ago_are_not_charged_for_old_invoices(self) -> None:
        world.publish()
        account = world.open_account()
        world.subscribe(account, "pro")
        attach_card(account, at=NOVEMBER + DAY)
        assert sweep_dunning(at=NOVEMBER + 10 * DAY) == 0
        assert Invoice.objects.get().status == "open"

    def test_are_left_alone_while_a_person_holds_it(self) -> None:
        case = open_case(open_invoice(card="insufficientlater"))
        hold_case(case_id=case.pk, until=None, at=NOVEMBER, actor=TESTER)
        attach_card(case.account, "visa", at=NOVEMBER + DAY)
        assert try_new_methods_of(account_id=case.account_id, at=NOVEMBER + DAY) == 0


class TestPeople:
    def test_hold_until_a_day_and_then_it_goes_on(self) -> None:
        open_invoice(card="insufficientlater")
        collect_due(at=NOVEMBER)
        case = DunningCase.objects.get()
        hold_case(case_id=case.pk, until=NOVEMBER + 5 * DAY, at=NOVEMBER, actor=TESTER, reason="promised")
        assert reload(case.invoice).next_attempt_at is None
        assert sweep_dunning(at=NOVEMBER + 4 * DAY) == 0
        assert sweep_dunning(at=NOVEMBER + 5 * DAY) == 1
        case = reload(case)
        assert (case.status, case.step, case.next_step_at) == ("running", 1, NOVEMBER + 5 * DAY)
        assert collect_due(at=NOVEMBER + 5 * DAY) == 1
        assert reload(case).step == 2
        held = Event.objects.get(type="dunning.held")
        assert (held.reason, held.actor_id) == ("promised", "tester")
        assert (held.previous_data or {})["status"] == "running"

    def test_cannot_hold_into_the_past(self) -> None:
        with pytest.raises(ValidationFailed):
            hold_case(case_id=open_case().pk, until=NOVEMBER, at=NOVEMBER, actor=TESTER)

    def test_try_a_card_again_that_was_given_up(self) -> None:
        case = open_case(open_invoice(card="expiredlater"), reason=HARD)
        resume_case(case_id=case.pk, at=NOVEMBER + DAY / 2, actor=TESTER)
        assert (reload(case).status, reload(case.invoice).next_attempt_at) == ("running", NOVEMBER + DAY)

    def test_end_it_for_good(self) -> None:
        case = open_case(open_invoice(card="insufficientlater"))
        cancel_case(case_id=case.pk, at=NOVEMBER, actor=TESTER)
        assert reload(case.invoice).next_attempt_at is None
        assert fail(case.invoice, at=NOVEMBER + DAY) is None
        assert DunningCase.objects.count() == 1


class TestSeveralInvoices:
    def test_keep_a_subscription_past_due_until_none_fails(self) -> None:
        first = open_invoice(card="insufficientlater")
        fail(first, at=NOVEMBER)
        change_subscription(
            subscription_id=Subscription.objects.get().pk,
            request=ChangeRequest(quantity=2),
            at=NOVEMBER + DAY,
            actor=TESTER,
        )
        second = Invoice.objects.order_by("id").last()
        assert second is not None and second != first
        fail(second, at=NOVEMBER + DAY)
        pay(first, at=NOVEMBER + 2 * DAY)
        assert Subscription.objects.get().status == "past_due"
        pay(second, at=NOVEMBER + 2 * DAY)
        assert Subscription.objects.get().status == "active"


class TestSubscriptions:
    def test_that_are_past_due_cannot_be_paused(self) -> None:
        open_case()
        with pytest.raises(InvalidState):
            pause_subscription(subscription_id=Subscription.objects.get().pk, at=NOVEMBER + DAY, actor=TESTER)

    def test_that_end_leave_the_invoice_to_be_paid(self) -> None:
        case = open_case(open_invoice(card="insufficientlater"))
        cancel_subscription(
            subscription_id=Subscription.objects.get().pk, at=NOVEMBER + DAY / 2, actor=TESTER, at_period_end=False
        )
        assert reload(case).status == "running"
        go_on(FOREVER)
        assert (reload(case).status, Subscription.objects.get().status) == ("exhausted", "canceled")

    def test_whose_end_cannot_be_arranged_are_unpaid_and_operators_are_told(self, settings: Any) -> None:
        settings.BILLING_DEFAULT_PLAN = "nothing"
        invoice = open_invoice(card="insufficientlater")
        campaign(delays_hours=[], end_state="free_plan", accounts=[invoice.account])
        go_on(FOREVER)
        assert Subscription.objects.get().status == "unpaid"
        assert WorkItem.objects.get().kind == "dunning_end_failed"
        assert DunningCase.objects.get().settled_at is not None

    def test_paid_before_their_end_is_arranged_stay(self) -> None:
        invoice = open_invoice(card="insufficientlater")
        campaign(delays_hours=[], end_state="cancel", accounts=[invoice.account])
        collect_due(at=NOVEMBER)
        assert reload(invoice).status == "uncollectible"
        pay(invoice, at=NOVEMBER)
        assert sweep_dunning(at=NOVEMBER) == 1
        assert Subscription.objects.get().status == "active"


class TestCampaigns:
    def test_of_the_account_win_over_those_of_the_plan_and_the_settings(self) -> None:
        invoice = open_invoice()
        assert find_terms(invoice)[1].delays_hours == (24, 72, 168)
        campaign(name="Plan", delays_hours=[1], plans=list(Plan.objects.filter(key="pro")))
        assert find_terms(invoice)[1].delays_hours == (1,)
        own = campaign(name="Own", delays_hours=[2], accounts=[invoice.account])
        assert find_terms(invoice)[1].delays_hours == (2,)
        values = CampaignValues(name="Own", delays_hours=[2], is_active=False, accounts=[invoice.account])
        update_campaign(campaign_id=own.pk, values=values, at=NOVEMBER, actor=TESTER)
        assert find_terms(invoice)[1].delays_hours == (1,)

    def test_change_nothing_of_what_is_under_way(self) -> None:
        invoice = open_invoice(card="insufficientlater")
        own = campaign(delays_hours=[24, 24], accounts=[invoice.account])
        case = open_case(invoice)
        values = CampaignValues(name="Test", delays_hours=[1], accounts=[invoice.account])
        update_campaign(campaign_id=own.pk, values=values, at=NOVEMBER, actor=TESTER)
        assert (case.delays_hours, case.campaign) == ([24, 24], own)
        assert Event.objects.get(type="dunning_campaign.updated").previous_data == {"delays_hours": [24, 24]}

    @pytest.mark.parametrize(
        ("values", "pointer"),
        [({"delays_hours": [0]}, "/delays_hours"), ({"name": " "}, "/name"), ({"end_state": "x"}, "/end_state")],
    )
    def test_that_cannot_be_are_refused(self, values: dict[str, Any], pointer: str) -> None:
        with pytest.raises(ValidationFailed) as refused:
            campaign(**values)
        assert [finding.pointer for finding in refused.value.errors] == [pointer]
        assert not DunningCampaign.objects.exists()

    def test_ask_for_what_nobody_charges_once_it_is_overdue(self) -> None:
        world.publish()
        account = world.open_account(email="pay@acme.example")
        world.subscribe(account, "pro")
        campaign(delays_hours=[24], on_overdue=True, accounts=[account])
        due = Invoice.objects.get().due_date
        assert due is not None
        midnight = datetime(due.year, due.month, due.day, tzinfo=UTC)
        assert sweep_dunning(at=midnight + DAY - timedelta(seconds=1)) == 0
        assert sweep_dunning(at=midnight + DAY) == 1
        case = DunningCase.objects.get()
        assert (case.status, case.stop_reason) == ("stopped", "not_charged")
        assert Subscription.objects.get().status == "past_due"
        go_on(midnight + 10 * DAY)
        assert reload(case).status == "exhausted"
        assert not PaymentIntent.objects.exists()


class TestMails:
    @pytest.fixture
    def sent(self) -> list[Any]:
        mail.outbox.clear()
        return mail.outbox

    def open_mailed(self, **profile: Any) -> Invoice:
        world.publish()
        account = world.open_account(email="pay@acme.example", **profile)
        attach_card(account, "insufficientlater")
        world.subscribe(account, "pro")
        return Invoice.objects.get()

    def test_say_what_failed_why_and_when_it_is_tried_again(self, sent: list[Any], settings: Any) -> None:
        settings.BILLING_PAY_URL = "https://app.example.com/pay/{number}"
        self.open_mailed()
        collect_due(at=NOVEMBER)
        sweep_notices(at=FOREVER)
        (message,) = sent
        assert message.subject.startswith("Payment failed: invoice INV-0001")
        assert message.to == ["pay@acme.example"]
        assert "We could not collect $10.00 USD for invoice INV-0001." in message.body
        assert "insufficient funds" in message.body
        assert "Nov 2, 2023" in message.body
        assert "Pay now: https://app.example.com/pay/INV-0001" in message.body
        html = message.alternatives[0][0]
        assert 'href="https://app.example.com/pay/INV-0001"' in html

    def test_are_in_the_language_and_zone_of_the_account(self, sent: list[Any]) -> None:
        # 2 November, 00:00 UTC is still the 1st in New York.
        self.open_mailed(language="de", timezone="America/New_York")
        collect_due(at=NOVEMBER)
        sweep_notices(at=FOREVER)
        assert sent[0].subject.startswith("Zahlung fehlgeschlagen: Rechnung INV-0001")
        assert "01.11.2023" in sent[0].body

    def test_are_not_sent_of_what_is_paid_meanwhile(self, sent: list[Any]) -> None:
        invoice = self.open_mailed()
        collect_due(at=NOVEMBER)
        pay(invoice, at=NOVEMBER + timedelta(minutes=1))
        sweep_notices(at=FOREVER)
        assert [each.subject for each in sent if "failed" in each.subject] == []
        assert Notice.objects.get(key__startswith="dunning.mail").status == "failed"

    def test_are_the_seller_s_to_switch_off(self, sent: list[Any]) -> None:
        self.open_mailed()
        Seller.objects.update(mails_dunning=False)
        collect_due(at=NOVEMBER)
        assert not Notice.objects.filter(key__startswith="dunning.mail").exists()

    def test_of_two_invoices_on_one_day_are_one(self, sent: list[Any]) -> None:
        first = self.open_mailed()
        collect_due(at=NOVEMBER)
        change_subscription(
            subscription_id=Subscription.objects.get().pk,
            request=ChangeRequest(quantity=2),
            at=NOVEMBER + timedelta(hours=1),
            actor=TESTER,
        )
        collect_due(at=NOVEMBER + timedelta(hours=1))
        second = Invoice.objects.exclude(pk=first.pk).get()
        assert Notice.objects.filter(key__startswith="dunning.mail").count() == 1
        sweep_notices(at=FOREVER)
        (message,) = sent
        assert first.number_text in message.body and second.number_text in message.body
        fail(second, at=NOVEMBER + timedelta(hours=2), actor=SYSTEM)  # the mail is out: this is another one
        assert Notice.objects.filter(key__startswith="dunning.mail").count() == 2


class TestCalendar:
    def test_takes_as_many_queries_for_many_as_for_one(self, django_assert_max_num_queries: Any) -> None:
        world.publish()
        for number in range(4):
            account = world.open_account(f"acme-{number}")
            attach_card(account, "insufficientlater")
            world.subscribe(account, "pro")
        collect_due(at=NOVEMBER)
        with django_assert_max_num_queries(5):
            found = load_calendar(Period(NOVEMBER, NOVEMBER + 10 * DAY))
            shown = [
                (str(each.invoice.account), each.step, str(each.method)) for day in found.days for each in day.planned
            ]
            tried = [(str(row.case.invoice.account), row.step, row.outcome) for d in found.days for row in d.tried]
        assert len(shown) == 4
        assert shown[0] == ("Acme-0", 2, "Visa ending in 9995")
        assert tried[0] == ("Acme-0", 1, "failed")
