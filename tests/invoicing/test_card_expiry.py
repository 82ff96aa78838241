"""Warnings that a card ends soon: of whom, when, once, in which words."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.core import mail
from django.core.mail import EmailMultiAlternatives

from accounts.models import Account, PaymentMethod, TestClock
from accounts.services.payment_methods import detach_row, set_default_payment_method, update_display_data
from billing_site.kernel import clock
from billing_site.platform.models import Event, Notice
from billing_site.platform.services.notices import sweep_notices
from billing_site.schedules import BEAT_SCHEDULE
from invoicing.queries.sellers import get_sellers
from invoicing.services import card_expiry
from invoicing.services.card_expiry import sweep_expiring_cards, warn_of_expiry
from invoicing.services.sellers import ensure_default_seller, update_seller
from invoicing.tasks import warn_of_expiring_cards
from tests.factories.payment_methods import make_payment_method
from tests.support import world

pytestmark = pytest.mark.django_db

# The card of `expiring` is good until 31 December 2023; 30 days before that is 1 December.
FIRST = datetime(2023, 12, 1, tzinfo=UTC)
CARD = {"brand": "visa", "last4": "4242", "exp_month": 12, "exp_year": 2023}


@pytest.fixture(autouse=True)
def _seller() -> None:
    world.publish()
    switch(name="Harbour GmbH", email="billing@harbour.example")


def switch(**changes: Any) -> None:
    seller = ensure_default_seller("default")
    update_seller(seller_id=seller.id, changes=changes, at=world.OCTOBER, actor=world.TESTER)


def show(method: PaymentMethod, **changes: Any) -> PaymentMethod:
    card = {**CARD, **changes}
    return update_display_data(method_id=method.pk, card=card, at=world.NOVEMBER, actor=world.TESTER)


def expiring(handle: str = "acme", plan: str = "pro", **profile: Any) -> Account:
    """Open an account that pays with a card that is good until the end of 2023."""
    account = world.open_account(handle, **{"email": f"{handle}@acme.example", **profile})
    show(make_payment_method(account, at=world.NOVEMBER))
    if plan:
        world.subscribe(account, plan)
    return account


def list_told() -> list[Event]:
    return list(Event.objects.filter(type="payment_method.expiring").order_by("sequence"))


def send(at: datetime) -> list[EmailMultiAlternatives]:
    mail.outbox.clear()
    sweep_notices(at=at)
    return list(mail.outbox)  # type: ignore[arg-type]


class TestSweep:
    def test_tells_by_event_and_mail(self) -> None:
        account = expiring()
        assert sweep_expiring_cards(at=FIRST - timedelta(seconds=1)) == 0
        assert sweep_expiring_cards(at=FIRST) == 1
        method = PaymentMethod.objects.get()
        assert (method.expires_on, method.expiry_told) == (date(2023, 12, 31), date(2023, 12, 31))
        (event,) = list_told()
        assert (event.object_id, event.account_id) == (method.public_id, account.pk)
        assert (event.data["expires_on"], event.data["name"]) == ("2023-12-31", "Visa ending in 4242")
        (message,) = send(FIRST)
        assert message.to == ["acme@acme.example"]
        assert message.subject == "Your card for payments to Harbour GmbH expires soon"
        html = str(message.alternatives[0][0])
        for shown in ("Hello Acme,", "Harbour GmbH is good until Dec 31, 2023.", "Visa ending in 4242", "12/2023"):
            assert shown in str(message.body)
            assert shown in html
        assert method.is_attached

    def test_tells_in_german(self) -> None:
        expiring(language="de-AT", name="Müller & Söhne")
        sweep_expiring_cards(at=FIRST)
        (message,) = send(FIRST)
        assert message.subject == "Ihre Karte für Zahlungen an Harbour GmbH läuft bald ab"
        shown = ("Guten Tag Müller & Söhne,", "gilt bis zum 31.12.2023.", "Visa mit den Endziffern 4242")
        for text in shown:
            assert text in str(message.body)
        assert "Gültig bis: 12/2023" in str(message.body)
        html = str(message.alternatives[0][0])
        assert '<html lang="de-AT">' in html
        assert "Müller &amp; Söhne" in html
        assert "ending in" not in str(message.body)

    def test_tells_once_and_again_of_another_end(self) -> None:
        expiring()
        assert [sweep_expiring_cards(at=FIRST + timedelta(days=day)) for day in (0, 0, 5)] == [1, 0, 0]
        method = show(PaymentMethod.objects.get(), exp_month=1, exp_year=2024)
        assert sweep_expiring_cards(at=FIRST + timedelta(days=5)) == 0
        assert sweep_expiring_cards(at=datetime(2024, 1, 1, tzinfo=UTC)) == 1
        assert [event.data["expires_on"] for event in list_told()] == ["2023-12-31", "2024-01-31"]
        keys = sorted(Notice.objects.filter(about=method.public_id).values_list("key", flat=True))
        assert keys == [f"card.expiring:{method.public_id}:{day}" for day in ("2023-12-31", "2024-01-31")]

    def test_goes_by_the_accounts_zone(self) -> None:
        expiring(timezone="Pacific/Auckland")  # 1 December begins there at 11:00 UTC of 30 November
        begins = datetime(2023, 11, 30, 11, tzinfo=UTC)
        assert sweep_expiring_cards(at=begins - timedelta(seconds=1)) == 0
        assert sweep_expiring_cards(at=begins) == 1

    def test_goes_by_the_accounts_test_clock(self) -> None:
        account = expiring()
        account.test_clock = TestClock.objects.create(name="later", now_at=FIRST - timedelta(days=1))
        account.save(update_fields=["test_clock"])
        assert sweep_expiring_cards(at=FIRST) == 0
        TestClock.objects.update(now_at=FIRST)
        assert sweep_expiring_cards(at=world.OCTOBER) == 1
        assert list_told()[0].created_at is not None

    def test_looks_at_all_of_them_in_batches(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(card_expiry, "_BATCH", 2)
        for number in range(3):
            expiring(f"idle-{number}", plan="")  # not told of, and met first: nobody hides behind them
        for number in range(4):
            expiring(f"acme-{number}")
        assert sweep_expiring_cards(at=FIRST) == 4
        assert len({event.account_id for event in list_told()}) == 4

    def test_one_that_fails_does_not_stop_the_others(self, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
        first, second = expiring("first"), expiring("second")
        genuine = get_sellers

        def fail(accounts: Any) -> Any:
            if first in accounts:
                raise RuntimeError("broken")
            return genuine(accounts)

        monkeypatch.setattr(card_expiry, "get_sellers", fail)
        assert sweep_expiring_cards(at=FIRST) == 1
        assert [event.account_id for event in list_told()] == [second.pk]
        assert "was not told" in caplog.text
        monkeypatch.setattr(card_expiry, "get_sellers", genuine)
        assert sweep_expiring_cards(at=FIRST) == 1

    def test_the_number_of_days_is_a_setting(self, settings: Any) -> None:
        expiring()
        settings.BILLING_CARD_EXPIRY_NOTICE_DAYS = 0
        assert sweep_expiring_cards(at=FIRST) == 0
        settings.BILLING_CARD_EXPIRY_NOTICE_DAYS = 7
        assert sweep_expiring_cards(at=datetime(2023, 12, 23, tzinfo=UTC)) == 0
        assert sweep_expiring_cards(at=datetime(2023, 12, 24, tzinfo=UTC)) == 1

    def test_is_rung_by_the_beat(self) -> None:
        assert BEAT_SCHEDULE["warn-of-expiring-cards"]["task"] == warn_of_expiring_cards.name
        expiring()
        with clock.travel(FIRST):
            assert warn_of_expiring_cards() == 1


class TestNobodyIsToldOf:
    def told(self, at: datetime = FIRST) -> bool:
        mails = Notice.objects.filter(key__startswith="card.")
        return sweep_expiring_cards(at=at) > 0 or bool(list_told()) or mails.exists()

    def test_an_account_that_pays_for_nothing(self) -> None:
        expiring("none", plan="")
        expiring("free", plan="free")
        assert not self.told()

    def test_another_default(self) -> None:
        account = expiring()
        other = make_payment_method(account, "tok_amex", at=world.NOVEMBER)
        set_default_payment_method(method_id=other.pk, at=world.NOVEMBER, actor=world.TESTER)
        assert not self.told()

    def test_a_subscription_that_is_charged_on_another_one(self) -> None:
        account = world.open_account()
        show(make_payment_method(account, at=world.NOVEMBER))
        other = make_payment_method(account, "tok_amex", at=world.NOVEMBER)
        subscription = world.subscribe(account)
        subscription.default_payment_method = other
        subscription.save(update_fields=["default_payment_method"])
        assert not self.told()

    def test_a_card_that_has_gone(self) -> None:
        method = PaymentMethod.objects.get(account=expiring())
        detach_row(method_id=method.pk, at=world.NOVEMBER, actor=world.TESTER, force=True)
        assert not self.told()
        assert not warn_of_expiry(method_id=method.pk, at=FIRST, actor=world.TESTER)

    def test_a_card_that_ended_before(self) -> None:
        expiring()
        assert not self.told(datetime(2024, 1, 1, tzinfo=UTC))

    def test_a_card_of_later(self) -> None:
        world.subscribe(world.open_account())
        make_payment_method(Account.objects.get(), at=world.NOVEMBER)  # 12/2034
        assert not self.told()

    def test_a_closed_account(self) -> None:
        account = expiring()
        Account.objects.filter(pk=account.pk).update(status="closed")
        assert not self.told()
        assert not warn_of_expiry(method_id=PaymentMethod.objects.get().pk, at=FIRST, actor=world.TESTER)


class TestMail:
    def test_is_not_written_where_the_seller_mails_no_such_thing(self) -> None:
        switch(mails_dunning=False)
        expiring()
        assert sweep_expiring_cards(at=FIRST) == 1
        assert len(list_told()) == 1
        assert not Notice.objects.filter(key__startswith="card.").exists()

    def test_is_not_sent_when_the_card_was_renewed_meanwhile(self) -> None:
        expiring()
        sweep_expiring_cards(at=FIRST)
        show(PaymentMethod.objects.get(), exp_year=2027)
        assert send(FIRST) == []
        notice = Notice.objects.get(key__startswith="card.")
        assert (notice.status, notice.error) == ("failed", "The card was renewed before this was told.")

    def test_is_not_sent_when_another_card_took_over(self) -> None:
        account = expiring()
        sweep_expiring_cards(at=FIRST)
        other = make_payment_method(account, "tok_amex", at=FIRST)
        set_default_payment_method(method_id=other.pk, at=FIRST, actor=world.TESTER)
        assert send(FIRST) == []
        assert Notice.objects.get(key__startswith="card.").error == "The card is not the account's default any more."

    def test_without_an_address_is_kept_to_be_seen(self) -> None:
        expiring(email="")
        assert sweep_expiring_cards(at=FIRST) == 1
        notice = Notice.objects.get(key__startswith="card.")
        assert (notice.status, notice.error) == ("failed", "There is no mail address.")
