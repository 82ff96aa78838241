"""Money set aside, captured, let go, or free again."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from accounts.models import Account, CreditLot, Hold, HoldStatus
from accounts.models.hold import HOLD_TRANSITIONS
from accounts.queries.ledger import get_balance, list_movements
from accounts.queries.proof import prove_ledger
from accounts.services.accounts import update_account
from accounts.services.deposits import deposit, expire_deposits
from accounts.services.holds import (
    AmountExceedsCapturable,
    capture_hold,
    create_hold,
    expire_hold,
    expire_holds,
    void_hold,
)
from accounts.services.prepaid import InsufficientBalance
from accounts.services.spending import spend_prepaid
from accounts.services.test_clocks import advance_test_clock, create_test_clock
from accounts.tasks.holds import expire_holds as expire_task
from billing_site.kernel import clock
from billing_site.kernel.errors import AmountNotPositive, CurrencyUnsupported, InvalidState, NotFound, ValidationFailed
from billing_site.kernel.ids import new_uuid
from billing_site.platform.models import Event
from tests.factories.accounts import ACTOR, AT, make_account

pytestmark = pytest.mark.django_db
LATER = AT + timedelta(days=30)


def make_rich(amount: int = 1000, **values: Any) -> Account:
    """An account with `amount` usd of prepaid money."""
    account = make_account(**values)
    deposit(account=account, amount=amount, currency="usd", at=AT, actor=ACTOR)
    return account


def hold(account: Account, amount: int = 300, **values: Any) -> Hold:
    return create_hold(**{"account": account, "amount": amount, "currency": "usd", "at": AT, "actor": ACTOR, **values})


def money(account: Account) -> tuple[int, int, int]:
    """Posted, held and available usd."""
    balance = get_balance(account_id=account.pk, currency="usd")
    return balance.balance, balance.holds, balance.available


def list_events() -> list[str]:
    return list(Event.objects.filter(type__startswith="hold.").order_by("id").values_list("type", flat=True))


class TestCreateHold:
    def test_sets_money_aside_without_moving_it(self) -> None:
        account = make_rich()
        made = hold(account, 300, description="booking 7")
        assert money(account) == (1000, 300, 700)
        assert (made.status, made.expires_at) == ("pending", AT + timedelta(days=7))
        event = Event.objects.get(type="hold.created")
        assert (event.object_id, event.data["amount"], event.data["description"]) == (made.public_id, 300, "booking 7")

    def test_leaves_the_rest_to_others(self) -> None:
        account = make_rich(1000)
        hold(account, 700)
        with pytest.raises(InsufficientBalance) as error:
            hold(account, 301)
        assert error.value.members == {"available": 300, "required": 301}
        hold(account, 300)
        assert money(account) == (1000, 1000, 0)

    def test_is_made_once_per_key(self) -> None:
        account = make_rich()
        assert hold(account, key="job:1").pk == hold(account, key="job:1").pk
        assert money(account) == (1000, 300, 700)

    @pytest.mark.parametrize(
        ("given", "error"),
        [
            ({"amount": 0}, AmountNotPositive),
            ({"amount": -1}, AmountNotPositive),
            ({"currency": "xyz"}, CurrencyUnsupported),
            ({"currency": "eur"}, InsufficientBalance),
            ({"expires_at": AT}, ValidationFailed),
        ],
    )
    def test_refuses_what_makes_no_sense(self, given: dict[str, Any], error: type[Exception]) -> None:
        account = make_rich()
        with pytest.raises(error):
            hold(account, **given)
        assert not Hold.objects.exists()

    def test_refuses_a_closed_account(self) -> None:
        account = make_rich()
        update_account(account_id=account.pk, changes={"status": "closed"}, at=AT, actor=ACTOR)
        with pytest.raises(InvalidState):
            hold(account)

    def test_cannot_set_aside_what_has_ended(self) -> None:
        account = make_account()
        deposit(account=account, amount=500, currency="usd", at=AT, actor=ACTOR, expires_in=1)
        with pytest.raises(InsufficientBalance):
            hold(account, 1, at=AT + timedelta(days=1))


class TestCaptureHold:
    def test_spends_what_was_held(self) -> None:
        account = make_rich(1000)
        done = capture_hold(hold_id=hold(account, 300).pk, at=AT, actor=ACTOR)
        assert (done.status, done.captured_amount) == ("captured", 300)
        assert done.entry is not None
        assert done.entry.key == f"capture:{done.public_id}"
        assert money(account) == (700, 0, 700)
        assert CreditLot.objects.get().remaining == 700
        assert list_events() == ["hold.created", "hold.captured"]
        assert prove_ledger().holds

    def test_releases_the_rest(self) -> None:
        account = make_rich(1000)
        capture_hold(hold_id=hold(account, 300).pk, amount=120, at=AT, actor=ACTOR)
        assert money(account) == (880, 0, 880)

    def test_takes_at_most_what_was_held(self) -> None:
        account = make_rich(1000)
        made = hold(account, 300)
        with pytest.raises(AmountExceedsCapturable) as error:
            capture_hold(hold_id=made.pk, amount=301, at=AT, actor=ACTOR)
        assert error.value.members == {"capturable": 300}
        assert money(account) == (1000, 300, 700)

    def test_happens_once(self) -> None:
        account = make_rich(1000)
        made = hold(account, 300)
        first = capture_hold(hold_id=made.pk, amount=100, at=AT, actor=ACTOR)
        again = capture_hold(hold_id=made.pk, amount=100, at=LATER, actor=ACTOR)
        assert (again.entry, again.ended_at) == (first.entry, AT)
        with pytest.raises(InvalidState):
            capture_hold(hold_id=made.pk, amount=50, at=AT, actor=ACTOR)
        assert money(account) == (900, 0, 900)

    def test_comes_too_late_after_its_end(self) -> None:
        account = make_rich()
        made = hold(account, expires_at=AT + timedelta(hours=1))
        with pytest.raises(InvalidState):
            capture_hold(hold_id=made.pk, at=AT + timedelta(hours=1), actor=ACTOR)
        assert capture_hold(hold_id=made.pk, at=AT + timedelta(minutes=59), actor=ACTOR).status == "captured"

    def test_never_takes_the_balance_below_zero(self) -> None:
        account = make_rich(300)
        made = hold(account, 300)
        spend_prepaid(
            account=account, amount=100, currency="usd", key="usage:1", at=AT, actor=ACTOR, allow_negative=True
        )
        with pytest.raises(InsufficientBalance):
            capture_hold(hold_id=made.pk, at=AT, actor=ACTOR)
        capture_hold(hold_id=made.pk, amount=200, at=AT, actor=ACTOR)
        assert money(account) == (0, 0, 0)
        assert prove_ledger().holds

    def test_of_an_unknown_hold(self) -> None:
        with pytest.raises(NotFound):
            capture_hold(hold_id=new_uuid(), at=AT, actor=ACTOR)


class TestVoidHold:
    def test_lets_the_money_go(self) -> None:
        account = make_rich(1000)
        done = void_hold(hold_id=hold(account).pk, at=AT, actor=ACTOR, reason="order canceled")
        assert (done.status, money(account)) == ("voided", (1000, 0, 1000))
        assert Event.objects.get(type="hold.voided").reason == "order canceled"


class TestExpireHolds:
    def test_frees_what_was_never_captured(self) -> None:
        account = make_rich(1000)
        made = hold(account, expires_at=AT + timedelta(hours=1))
        assert expire_holds(at=AT + timedelta(minutes=59)) == 0
        assert [expire_holds(at=AT + timedelta(hours=1)), expire_holds(at=AT + timedelta(hours=1))] == [1, 0]
        made.refresh_from_db()
        assert (made.status, made.ended_at) == ("expired", AT + timedelta(hours=1))
        assert money(account) == (1000, 0, 1000)
        assert list_events() == ["hold.created", "hold.expired"]

    def test_is_not_waited_for(self) -> None:
        account = make_rich(1000)
        hold(account, 1000, expires_at=AT + timedelta(hours=1))
        at = AT + timedelta(hours=1)
        assert get_balance(account_id=account.pk, currency="usd", at=at).available == 1000
        assert hold(account, 900, at=at).amount == 900

    def test_works_through_more_than_one_chunk(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("accounts.services.holds.SWEEP_CHUNK", 2)
        for account in [make_rich() for _ in range(2)]:
            for _ in range(3):
                hold(account, 10)
        assert expire_holds(at=LATER) == 6

    def test_counts_by_the_test_clock_of_the_account(self) -> None:
        frozen = create_test_clock(name="fast", now_at=AT, at=AT, actor=ACTOR)
        hold(make_rich(test_clock=frozen))
        assert expire_holds(at=LATER) == 0
        advance_test_clock(clock_id=frozen.pk, to=LATER, at=AT, actor=ACTOR)
        assert expire_holds(at=AT) == 1
        assert Hold.objects.get().ended_at == LATER

    def test_is_what_the_task_does(self) -> None:
        hold(make_rich())
        with clock.travel(LATER):
            assert expire_task() == 1


class TestEndingDeposits:
    def test_leave_what_a_hold_needs_until_it_ends(self) -> None:
        account = make_account()
        deposit(account=account, amount=500, currency="usd", at=AT, actor=ACTOR, expires_in=1)
        hold(account, 200, expires_at=AT + timedelta(days=3))
        assert expire_deposits(at=AT + timedelta(days=2)).lots == 1
        assert money(account) == (200, 200, 0)
        assert expire_deposits(at=AT + timedelta(days=2)).lots == 0
        expire_holds(at=AT + timedelta(days=3))
        assert expire_deposits(at=AT + timedelta(days=3)).lots == 1
        assert money(account) == (0, 0, 0)
        assert prove_ledger().holds

    def test_are_captured_after_their_end(self) -> None:
        account = make_rich(100)
        deposit(account=account, amount=500, currency="usd", at=AT, actor=ACTOR, expires_in=1)
        made = hold(account, 200, expires_at=AT + timedelta(days=3))
        at = AT + timedelta(days=2)
        expire_deposits(at=at)  # 600 posted, 200 held: 400 of the 500 are free and end
        assert money(account) == (200, 200, 0)
        capture_hold(hold_id=made.pk, amount=150, at=at, actor=ACTOR)
        left = list(CreditLot.objects.order_by("expires_at").values_list("remaining", flat=True))
        assert left == [0, 50]  # the ended lot gave its last 100, the undated one 50
        assert prove_ledger().holds


END: dict[str, Any] = {
    HoldStatus.CAPTURED: lambda made, at: capture_hold(hold_id=made.pk, at=at, actor=ACTOR, amount=77),
    HoldStatus.VOIDED: lambda made, at: void_hold(hold_id=made.pk, at=at, actor=ACTOR),
    HoldStatus.EXPIRED: lambda made, at: expire_hold(hold_id=made.pk, at=at),
}


def make_in(status: str) -> Hold:
    """A hold in a state, which it reached with an amount other than the one the table's test asks for."""
    made = hold(make_rich())
    if status == HoldStatus.CAPTURED:
        return capture_hold(hold_id=made.pk, at=AT, actor=ACTOR, amount=5)
    return made if status == HoldStatus.PENDING else END[status](made, when(status))


def when(status: str) -> datetime:
    return LATER if status == HoldStatus.EXPIRED else AT


class TestTransitions:
    @pytest.mark.parametrize("after", END)
    @pytest.mark.parametrize("before", HoldStatus.values)
    def test_follow_the_table(self, before: str, after: str) -> None:
        made = make_in(before)
        if after in HOLD_TRANSITIONS[before]:
            END[after](made, when(after))
            assert Hold.objects.get().status == after
            return
        with pytest.raises(InvalidState) as error:
            END[after](made, when(after))
        assert error.value.members == {"current_status": before}
        assert Hold.objects.get().status == before

    def test_before_its_end_a_hold_does_not_expire(self) -> None:
        with pytest.raises(InvalidState):
            expire_hold(hold_id=hold(make_rich()).pk, at=AT)


class TestMovements:
    def test_show_a_hold_and_its_end(self) -> None:
        account = make_rich(1000)
        made = capture_hold(hold_id=hold(account, 300).pk, amount=120, at=AT, actor=ACTOR)
        pending = hold(account, 50)
        page = list_movements(account=account)
        shown = [(row.type, row.amount) for row in page.movements]
        assert shown == [("hold", 50), ("hold_removed", 300), ("withdraw", 120), ("hold", 300), ("deposit", 1000)]
        assert page.count == 5
        assert len({row.id for row in page.movements}) == 5
        assert [row.id for row in page.movements if row.type == "hold"] == [pending.public_id, made.public_id]
        assert page.movements[1].metadata == {"hold_id": made.public_id, "status": "captured"}
        assert [row.type for row in list_movements(account=account, offset=1, limit=2).movements] == [
            "hold_removed",
            "withdraw",
        ]
        assert list_movements(account=account, currency="eur").count == 0
