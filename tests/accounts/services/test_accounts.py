"""Opening accounts and changing profiles."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from accounts.models import Account, LedgerAccount, Member, Subscription
from accounts.services.accounts import ExternalIdTaken, choose_handle, create_account, update_account
from accounts.services.deposits import deposit
from accounts.services.test_clocks import advance_test_clock, create_test_clock
from billing_site.kernel.actors import Principal
from billing_site.kernel.errors import CurrencyUnsupported, InvalidState, ValidationFailed
from billing_site.platform.models import Event
from tests.factories.accounts import ACTOR, AT, make_account, make_subscription, publish_catalog
from tests.support import world

pytestmark = pytest.mark.django_db


def open_account(**values: Any) -> Account:
    return create_account(**{"name": "Acme", "at": AT, "actor": ACTOR, **values})


class TestCreateAccount:
    def test_opens_pots_owner_and_history(self) -> None:
        account = open_account(external_id=" acme/alice ", currency="EUR", country="de", timezone="Europe/Berlin")
        assert (account.external_id, account.org_id, account.currency) == ("acme/alice", "acme", "eur")
        assert (account.country, account.timezone) == ("DE", "Europe/Berlin")
        assert Member.objects.get(account=account).user_id == "acme/alice"
        kinds = LedgerAccount.objects.filter(account=account, currency="eur").values_list("kind", flat=True)
        assert sorted(kinds) == ["invoice_credit", "prepaid", "receivable"]
        event = Event.objects.get(type="account.created")
        assert (event.object_id, event.data["name"], event.actor_id) == (account.public_id, "Acme", "tester")

    @pytest.mark.parametrize(
        ("external_id", "org_id", "expected"),
        [
            ("acme/alice", None, "acme"),
            ("ACME/alice", None, "acme"),
            ("alice", None, "default"),
            ("/alice", None, "default"),
            (None, None, "default"),
            ("acme/alice", "Globex", "globex"),
        ],
    )
    def test_derives_the_organization(self, external_id: str | None, org_id: str | None, expected: str) -> None:
        assert open_account(external_id=external_id, org_id=org_id).org_id == expected

    def test_names_the_owner_given(self) -> None:
        account = open_account(external_id="acme/alice", owner_user_id="bob")
        assert list(account.members.values_list("user_id", "role")) == [("bob", "owner")]

    def test_needs_no_external_id(self) -> None:
        assert open_account().external_id is None
        assert open_account(external_id="  ").external_id is None

    def test_refuses_a_handle_in_use_in_any_case(self) -> None:
        open_account(external_id="Acme/Alice")
        with pytest.raises(ExternalIdTaken):
            open_account(external_id="acme/ALICE")
        assert Account.objects.count() == 1

    @pytest.mark.parametrize(
        ("given", "pointer"),
        [
            ({"name": "  "}, "/name"),
            ({"name": "x" * 256}, "/name"),
            ({"timezone": "Europe/Atlantis"}, "/timezone"),
            ({"timezone": "Europe"}, "/timezone"),
            ({"timezone": "../etc/passwd"}, "/timezone"),
            ({"country": "ZZ"}, "/country"),
            ({"country": "Germany"}, "/country"),
            ({"external_id": "a\nb"}, "/external_id"),
            ({"external_id": "acc_" + "0" * 26}, "/external_id"),
            ({"tier": "gold"}, "/tier"),
            ({"net_terms_days": 1000}, "/net_terms_days"),
            ({"grace_hours": 721}, "/grace_hours"),
            ({"billing_threshold": 0}, "/billing_threshold"),
            ({"invoice_grouping": "plan"}, "/invoice_grouping"),
            ({"org_id": "a/b"}, "/org_id"),
        ],
    )
    def test_refuses_what_cannot_be_kept(self, given: dict[str, Any], pointer: str) -> None:
        with pytest.raises(ValidationFailed) as refusal:
            open_account(**given)
        assert [finding.pointer for finding in refusal.value.errors] == [pointer]
        assert not Account.objects.exists()

    def test_names_every_wrong_field_at_once(self) -> None:
        with pytest.raises(ValidationFailed) as refusal:
            open_account(timezone="Mars/Base", country="QQ")
        assert {finding.pointer for finding in refusal.value.errors} == {"/timezone", "/country"}

    def test_refuses_currencies_not_offered(self, settings: Any) -> None:
        settings.BILLING_CURRENCIES = ["EUR"]
        assert open_account(currency="eur").currency == "eur"
        with pytest.raises(CurrencyUnsupported):
            open_account(currency="usd")

    def test_takes_no_column_it_does_not_have(self) -> None:
        with pytest.raises(TypeError, match="livemode"):
            open_account(livemode=True)


class TestDefaultPlan:
    def test_starts_when_the_catalog_has_it_for_free(self) -> None:
        publish_catalog()
        account = open_account(external_id="acme/alice")  # acme has no catalog of its own
        assert Subscription.objects.get(account=account).plan_version.plan.key == "free"

    def test_is_left_out_without_a_catalog(self) -> None:
        assert not open_account().subscriptions.exists()

    @pytest.mark.parametrize("plan", ["", "nothing", "pro", "enterprise"])
    def test_is_left_out_when_it_is_not_free_or_not_there(self, plan: str, settings: Any) -> None:
        settings.BILLING_DEFAULT_PLAN = plan
        publish_catalog()
        assert not open_account().subscriptions.exists()

    def test_starts_in_a_currency_it_has_no_price_in(self) -> None:
        publish_catalog()
        subscription = open_account(currency="jpy").subscriptions.get()
        assert (subscription.currency, subscription.items.count()) == ("jpy", 0)

    def test_has_no_trial(self, settings: Any) -> None:
        settings.BILLING_TRIAL_PERIOD_DAYS = 14
        publish_catalog()
        assert open_account().subscriptions.get().status == "active"


class TestUpdateAccount:
    def change(self, account: Account, **changes: Any) -> Account:
        return update_account(account_id=account.pk, changes=changes, at=AT, actor=ACTOR, reason="asked by phone")

    def test_writes_and_keeps_what_was(self) -> None:
        account = make_account(city="Bonn")
        changed = self.change(account, name=" Acme 2 ", city="Berlin")
        assert (changed.name, changed.city) == ("Acme 2", "Berlin")
        event = Event.objects.get(type="account.updated")
        assert event.previous_data == {"name": account.name, "city": "Bonn"}
        assert (event.data["city"], event.reason) == ("Berlin", "asked by phone")

    def test_without_a_difference_writes_nothing(self) -> None:
        account = make_account()
        self.change(account, name=account.name, currency="USD")
        assert not Event.objects.filter(type="account.updated").exists()

    def test_changes_the_currency_until_money_was_booked(self) -> None:
        account = self.change(make_account(), currency="eur")
        deposit(account=account, amount=1, currency="usd", at=AT, actor=ACTOR)
        with pytest.raises(ValidationFailed) as refusal:
            self.change(account, currency="usd")
        assert refusal.value.errors[0].pointer == "/currency"

    @pytest.mark.parametrize(("name", "value"), [("currency", "eur"), ("timezone", "Europe/Berlin")])
    def test_keeps_what_a_running_subscription_depends_on(self, name: str, value: str) -> None:
        publish_catalog()
        account = make_account()
        subscription = make_subscription(account)
        with pytest.raises(ValidationFailed, match=f"Pro .{subscription.public_id}.") as refusal:
            self.change(account, **{name: value, "city": "Bonn"})
        assert [(finding.pointer, finding.code) for finding in refusal.value.errors] == [(f"/{name}", "fixed")]
        account.refresh_from_db()
        assert account.city == ""

    def test_changes_the_zone_once_no_subscription_runs(self) -> None:
        publish_catalog()
        account = make_account()
        subscription = make_subscription(account)
        Subscription.objects.filter(pk=subscription.pk).update(status="canceled", ended_at=AT, canceled_at=AT)
        assert self.change(account, timezone="Europe/Berlin").timezone == "Europe/Berlin"
        with pytest.raises(ValidationFailed, match="Money was booked in USD"):
            self.change(account, currency="eur")

    def test_checks_the_tax_number_by_country(self) -> None:
        account = self.change(make_account(), tax_id="de 136 695 976", country="de")
        assert account.tax_id == "DE136695976"
        for changes in ({"tax_id": "DE136695977"}, {"country": "FR"}):
            with pytest.raises(ValidationFailed) as refusal:
                self.change(account, **changes)
            assert [(finding.pointer, finding.code) for finding in refusal.value.errors] == [
                ("/tax_id", "invalid_tax_id")
            ]
        moved = self.change(account, country="FR", tax_id="FR40303265045")
        assert (moved.country, moved.tax_id) == ("FR", "FR40303265045")

    def test_leaves_a_stored_tax_number_alone_while_nothing_about_it_changes(self) -> None:
        account = make_account(country="DE")
        Account.objects.filter(pk=account.pk).update(tax_id="12/345")
        assert self.change(account, city="Bonn", country="de").tax_id == "12/345"

    def test_does_not_close_an_account_with_a_running_subscription(self) -> None:
        publish_catalog()
        account = make_account()
        make_subscription(account)
        with pytest.raises(InvalidState):
            self.change(account, status="closed")

    def test_refuses_a_handle_in_use(self) -> None:
        make_account("acme/bob")
        with pytest.raises(ExternalIdTaken):
            self.change(make_account("acme/alice"), external_id="ACME/bob")


class TestPaymentTerms:
    @pytest.mark.parametrize("days", [0, 30])
    def test_of_the_account_decide_when_an_invoice_is_due(self, days: int) -> None:
        world.publish()
        world.subscribe(world.open_account(net_terms_days=days), "pro")
        (invoice,) = world.list_invoices()
        assert invoice.issue_date is not None
        assert invoice.due_date == invoice.issue_date + timedelta(days=days)


class TestChooseHandle:
    alice = Principal("public", "acme/alice")

    def test_defaults_to_the_subject_of_a_public_caller(self) -> None:
        assert choose_handle(self.alice, external_id=None, org_id=None) == ("acme/alice", "acme")
        assert choose_handle(self.alice, external_id="acme/team", org_id="ACME") == ("acme/team", "acme")

    @pytest.mark.parametrize(("external_id", "org_id"), [("globex/bob", None), ("bob", None), (None, "globex")])
    def test_keeps_public_callers_in_their_organization(self, external_id: str | None, org_id: str | None) -> None:
        with pytest.raises(ValidationFailed):
            choose_handle(self.alice, external_id=external_id, org_id=org_id)

    def test_keeps_a_limited_token_in_its_organization(self) -> None:
        limited = Principal("internal", "svc", org="acme")
        assert choose_handle(limited, external_id="globex/bob", org_id=None) == ("globex/bob", "acme")
        with pytest.raises(ValidationFailed):
            choose_handle(limited, external_id=None, org_id="globex")


class TestClocks:
    def test_only_move_forward(self) -> None:
        clock = create_test_clock(name="c", now_at=AT, at=AT, actor=ACTOR)
        with pytest.raises(ValidationFailed):
            advance_test_clock(clock_id=clock.pk, to=AT, at=AT, actor=ACTOR)

    def test_do_not_exist_in_live_mode(self, settings: Any) -> None:
        clock = create_test_clock(name="c", now_at=AT, at=AT, actor=ACTOR)
        settings.BILLING_LIVEMODE = True
        with pytest.raises(InvalidState):
            create_test_clock(name="d", now_at=AT, at=AT, actor=ACTOR)
        with pytest.raises(ValidationFailed):
            open_account(test_clock=clock)

    def test_give_their_accounts_the_time(self) -> None:
        from billing_site.kernel import clock as kernel_clock

        clock = create_test_clock(name="c", now_at=AT, at=AT, actor=ACTOR)
        assert kernel_clock.now(make_account(test_clock=clock)) == AT
