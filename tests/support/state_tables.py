"""The state tables of the product, one case each: how rows come into a state, and which service leads to another."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from accounts.models import WAITING_STATUSES, Account, Hold, PaymentMethod, Subscription, SubscriptionSchedule
from accounts.models.hold import HOLD_TRANSITIONS
from accounts.models.payment_method import PAYMENT_METHOD_TRANSITIONS
from accounts.models.schedule import SCHEDULE_TRANSITIONS
from accounts.models.subscription import SUBSCRIPTION_TRANSITIONS
from accounts.services.accounts import update_account
from accounts.services.deposits import deposit
from accounts.services.holds import capture_hold, create_hold, expire_hold, void_hold
from accounts.services.payment_methods import (
    NewPaymentMethod,
    detach_row,
    open_payment_method,
    settle_attached,
    settle_refused,
)
from billing_site.platform.models import Approval
from billing_site.platform.services.approvals import approve, cancel, expire_due, reject
from catalog.models import CatalogDraft
from catalog.services.draft_approvals import submit_draft, withdraw_draft
from catalog.services.drafts import create_draft, discard_draft, publish_draft
from invoicing.models import BillingRun, Invoice, InvoiceReview, RunOutcome, Seller
from invoicing.models.invoice import INVOICE_TRANSITIONS
from invoicing.models.review import REVIEW_TRANSITIONS
from invoicing.models.run import RUN_TRANSITIONS
from invoicing.services.balance_payments import pay_from_balance
from invoicing.services.billing import bill_subscriptions
from invoicing.services.cancellations import cancel_subscription
from invoicing.services.invoices import finalize_invoice, void_invoice
from invoicing.services.pauses import pause_subscription, resume_subscription
from invoicing.services.reviews import discard_review, release_review
from invoicing.services.run_control import cancel_run, pause_run, resume_run, retry_failed
from invoicing.services.run_work import work_run
from invoicing.services.runs import RunRequest, plan_run
from invoicing.services.schedule_steps import advance_schedule
from invoicing.services.schedules import cancel_schedule, release_schedule
from invoicing.services.uncollectible import mark_uncollectible
from tests.factories.approvals import ADA, BOB, LIFETIME, ask, open_workshop
from tests.factories.catalog import find_entry, make_document, publish_catalog
from tests.factories.platform import AT
from tests.support import world
from tests.support.alert_states import ALERTS, NOTICES
from tests.support.bank_transfer_states import INSTRUCTIONS, TRANSFERS
from tests.support.billing_job_states import JOBS
from tests.support.credit_note_states import CREDIT_NOTES, settle_by_note, void_note_of
from tests.support.drift_states import DRIFTS
from tests.support.dunning_states import CASES
from tests.support.inbound_event_states import INBOUND_EVENTS
from tests.support.manual_payments import MANUAL_PAYMENTS
from tests.support.payment_states import PAYMENTS
from tests.support.payouts import PAYOUTS
from tests.support.plan_move_states import MOVE_ITEMS, MOVES
from tests.support.refund_states import DISPUTES, REFUNDS
from tests.support.reservation_states import RESERVATIONS
from tests.support.schedules import APRIL, JANUARY, make_ramp, publish_ramp
from tests.support.setup_intent_states import SETUPS
from tests.support.states import StateTable, set_state
from tests.support.usage_import_states import USAGE_IMPORTS
from tests.support.usage_states import EXPORTS
from tests.support.work_item_states import WORK_ITEMS

_MIDDLE: Final = world.NOVEMBER + timedelta(days=14)
_BY: Final[dict[str, Any]] = {"at": _MIDDLE, "actor": world.TESTER}


def _final(*states: str) -> dict[str, frozenset[str]]:
    return dict.fromkeys(states, frozenset())


# ---- approvals ------------------------------------------------------------------------------------------------------
_DECIDED: Final = ("approved", "rejected", "canceled", "expired")


def _arrange_approval(state: str, _to: str) -> Approval:
    open_workshop()
    approval = ask()
    if state != "pending":
        APPROVALS.moves[state](approval)
    return approval


def _hold_approval(before: str, after: str) -> str:
    if before != "pending":
        return "approvals_immutable"
    return "" if after == "pending" else "approvals_decided_by_status"


APPROVALS: Final = StateTable(
    model=Approval,
    transitions={"pending": frozenset(_DECIDED), **_final(*_DECIDED)},
    arrange=_arrange_approval,
    moves={
        "approved": lambda row: approve(approval_id=row.pk, at=AT, actor=BOB),
        "rejected": lambda row: reject(approval_id=row.pk, at=AT, actor=BOB, comment="no"),
        "canceled": lambda row: cancel(approval_id=row.pk, at=AT, actor=ADA),
        "expired": lambda _row: expire_due(at=AT + LIFETIME),
    },
    quiet=frozenset((before, "expired") for before in _DECIDED),
    held=_hold_approval,
)


# ---- catalog drafts -------------------------------------------------------------------------------------------------
def _arrange_draft(state: str, _to: str) -> CatalogDraft:
    publish_catalog()
    document = make_document()
    find_entry(document, "plans", "pro")["prices"][0]["unit_amount"] = 3900
    draft = create_draft(title="Spring prices", at=AT, actor=ADA, document=document).draft
    if state != "draft":
        DRAFTS.moves[state](draft)
    return draft


def _publish_draft(row: CatalogDraft) -> object:
    """Publish alone, or by the approval that a submitted draft waits for."""
    draft = CatalogDraft.objects.get(pk=row.pk)
    if draft.status == "submitted" and draft.approval is not None:
        return approve(approval_id=draft.approval.pk, at=AT, actor=BOB)
    return publish_draft(draft_id=row.pk, at=AT, actor=ADA)


def _hold_draft(before: str, after: str) -> str:
    if "published" in (before, after) and before != after:
        return "catalog_drafts_published_has_revision"
    return "catalog_drafts_submitted_has_request" if after == "submitted" != before else ""


DRAFTS: Final = StateTable(
    model=CatalogDraft,
    transitions={
        "draft": frozenset({"submitted", "published", "discarded"}),
        "submitted": frozenset({"draft", "published"}),
        **_final("published", "discarded"),
    },
    arrange=_arrange_draft,
    moves={
        "draft": lambda row: withdraw_draft(draft_id=row.pk, at=AT, actor=ADA),
        "submitted": lambda row: submit_draft(draft_id=row.pk, at=AT, actor=ADA, reason="new season"),
        "published": _publish_draft,
        "discarded": lambda row: discard_draft(draft_id=row.pk, at=AT, actor=ADA),
    },
    held=_hold_draft,
)


# ---- accounts and holds ---------------------------------------------------------------------------------------------
def _arrange_account(state: str, _to: str) -> Account:
    account = world.open_account()
    return account if state == "active" else update_account(account_id=account.pk, changes={"status": state}, **_BY)


ACCOUNTS: Final = StateTable(
    model=Account,
    transitions={"active": frozenset({"closed"}), "closed": frozenset({"active"})},
    arrange=_arrange_account,
    moves={
        "active": lambda row: update_account(account_id=row.pk, changes={"status": "active"}, **_BY),
        "closed": lambda row: update_account(account_id=row.pk, changes={"status": "closed"}, **_BY),
    },
    quiet=frozenset({("active", "active"), ("closed", "closed")}),
    held=lambda _before, _after: "",
)


def _arrange_hold(state: str, _to: str) -> Hold:
    account = world.open_account()
    deposit(account=account, amount=1000, currency="usd", at=_MIDDLE, actor=world.TESTER)
    hold = create_hold(account=account, amount=300, currency="usd", **_BY)
    if state != "pending":
        HOLDS.moves[state](hold)
    return hold


def _hold_hold(before: str, after: str) -> str:
    if before != "pending":
        return "holds_final"
    return {"pending": "", "captured": "holds_captured_has_entry"}.get(after, "holds_ended_has_time")


HOLDS: Final = StateTable(
    model=Hold,
    transitions=HOLD_TRANSITIONS,
    arrange=_arrange_hold,
    moves={
        "captured": lambda row: capture_hold(hold_id=row.pk, **_BY),
        "voided": lambda row: void_hold(hold_id=row.pk, **_BY),
        "expired": lambda row: expire_hold(hold_id=row.pk, at=row.expires_at),
    },
    quiet=frozenset({("captured", "captured")}),  # the same amount again answers what was done
    held=_hold_hold,
    allows=Hold.may_become,
)


# ---- payment methods ------------------------------------------------------------------------------------------------
def _arrange_method(state: str, _to: str) -> PaymentMethod:
    new = NewPaymentMethod(type="card", provider_type="local", provider_ref="tok_visa")
    method = open_payment_method(account=world.open_account(), new=new)
    for step in {"detached": ("attached", "detached")}.get(state, (state,)):
        if step != "pending":
            PAYMENT_METHODS.moves[step](method)
    return method


def _hold_method(before: str, after: str) -> str:
    if before == after:
        return ""
    if after not in PAYMENT_METHOD_TRANSITIONS[before]:
        return "payment_methods_ends_once"
    return {
        "attached": "payment_methods_attached_has_time",
        "refused": "payment_methods_refused_has_reason",
        "detached": "payment_methods_default_is_attached",
    }[after]


PAYMENT_METHODS: Final = StateTable(
    model=PaymentMethod,
    transitions=PAYMENT_METHOD_TRANSITIONS,
    arrange=_arrange_method,
    moves={
        "attached": lambda row: settle_attached(method_id=row.pk, **_BY),
        "refused": lambda row: settle_refused(method_id=row.pk, decline_reason="do_not_honor", at=_MIDDLE),
        "detached": lambda row: detach_row(method_id=row.pk, force=True, **_BY),
    },
    # What the provider says of a method that is settled already changes nothing.
    quiet=frozenset((before, to) for before in ("attached", "refused", "detached") for to in ("attached", "refused")),
    held=_hold_method,
    allows=PaymentMethod.can_become,
    refusal=404,
)


# ---- payments, which several tables have -----------------------------------------------------------------------------
def _pay(invoice: Invoice) -> object:
    """Pay from prepaid money."""
    deposit(account=invoice.account, amount=invoice.total, currency=invoice.currency, at=_MIDDLE, actor=world.TESTER)
    return pay_from_balance(invoice_id=invoice.pk, **_BY)


# ---- subscriptions --------------------------------------------------------------------------------------------------
_NOT_COLLECTED: Final = ("past_due", "unpaid")


def _arrange_subscription(state: str, to: str) -> Subscription:
    """What a failed payment leads to is written; a pause begins in the trial where a trial is to go on."""
    world.publish()
    on_trial = state == "trialing" or (state, to) == ("paused", "trialing")
    options: dict[str, Any] = {"trial_period_days": 20 if on_trial else 0, "payment_gated": state == "incomplete"}
    subscription = world.subscribe(world.open_account(), "pro", **options)
    if state == "paused":
        pause_subscription(subscription_id=subscription.pk, at=world.NOVEMBER + timedelta(days=2), actor=world.TESTER)
    elif state == "canceled":
        cancel_subscription(subscription_id=subscription.pk, at_period_end=False, **_BY)
    elif state in _NOT_COLLECTED:
        set_state(subscription, state)
    return subscription


def _activate(row: Subscription) -> object:
    """A trial becomes active when it ends, what waits for money when it is paid, everything else by resuming."""
    row.refresh_from_db()
    if row.status in WAITING_STATUSES:
        return _pay(row.invoices.get())
    if row.status == "trialing":
        return bill_subscriptions(subscription_ids=[row.pk], as_of=row.current_period_end, actor=world.TESTER)
    return resume_subscription(subscription_id=row.pk, **_BY)


def _hold_subscription(before: str, after: str) -> str:
    if "canceled" in (before, after) and before != after:
        return "subscriptions_canceled_has_end"
    if after == "paused" != before:
        return "subscriptions_paused_has_time"
    if after == "trialing" and before not in ("trialing", "paused"):
        return "subscriptions_trialing_has_trial_end"
    return "subscriptions_waits_only_incomplete" if before == "incomplete" != after else ""


SUBSCRIPTIONS: Final = StateTable(
    model=Subscription,
    arranges_for_second=True,
    transitions=SUBSCRIPTION_TRANSITIONS,
    arrange=_arrange_subscription,
    moves={
        "trialing": lambda row: resume_subscription(subscription_id=row.pk, **_BY),
        "active": _activate,
        "paused": lambda row: pause_subscription(subscription_id=row.pk, **_BY),
        "canceled": lambda row: cancel_subscription(subscription_id=row.pk, at_period_end=False, **_BY),
    },
    unserved=frozenset({("active", "past_due"), ("past_due", "unpaid")}),
    held=_hold_subscription,
    allows=Subscription.can_become,
)


# ---- schedules ------------------------------------------------------------------------------------------------------
def _arrange_schedule(state: str, _to: str) -> SubscriptionSchedule:
    """What ended has begun before."""
    publish_ramp()
    schedule = make_ramp(world.open_account(), at=world.DECEMBER if state == "not_started" else JANUARY)
    if state not in ("not_started", "active"):
        SCHEDULES.moves[state](schedule)
    return schedule


def _choose_moment(row: SubscriptionSchedule) -> dict[str, Any]:
    """Before the first phase while it has not begun, within it afterwards: nothing else falls due."""
    row.refresh_from_db()
    day = timedelta(days=-1 if row.status == "not_started" else 1)
    return {"at": row.start_date + day, "actor": world.TESTER}


def _hold_schedule(before: str, after: str) -> str:
    unfinished = ("not_started", "active")
    if (before in unfinished) != (after in unfinished):
        return "subscription_schedules_ended_has_time"
    return "subscription_schedules_status_matches_phase" if before != after and after in unfinished else ""


SCHEDULES: Final = StateTable(
    model=SubscriptionSchedule,
    transitions=SCHEDULE_TRANSITIONS,
    arrange=_arrange_schedule,
    moves={
        "active": lambda row: advance_schedule(schedule_id=row.pk, at=JANUARY, actor=world.TESTER),
        "completed": lambda row: advance_schedule(schedule_id=row.pk, at=APRIL, actor=world.TESTER),
        "released": lambda row: release_schedule(schedule_id=row.pk, **_choose_moment(row)),
        "canceled": lambda row: cancel_schedule(schedule_id=row.pk, **_choose_moment(row)),
    },
    quiet=frozenset(
        {
            ("active", "active"),
            *((before, after) for before in ("completed", "released", "canceled") for after in ("active", "completed")),
        }
    ),
    through={("not_started", "completed"): "active"},
    held=_hold_schedule,
    allows=SubscriptionSchedule.can_become,
)


# ---- billing runs ---------------------------------------------------------------------------------------------------
def _plan_run(*, fails: bool = False, plan: str = "pro") -> BillingRun:
    world.publish()
    subscription = world.subscribe(world.open_account(), plan)
    if fails:
        Subscription.objects.filter(pk=subscription.pk).update(currency="eur")  # its price is in usd
    return plan_run(org_id="default", as_of=world.DECEMBER, request=RunRequest(world.TESTER), livemode=False)


def _arrange_run(state: str, _to: str) -> BillingRun:
    """A finished run has a failed row, so that there is something to retry. Pending and failed are written."""
    run = _plan_run(fails=state in ("completed", "failed"))
    if state in ("paused", "canceled"):
        RUNS.moves[state](run)
    if state in ("completed", "failed"):
        work_run(run_id=run.pk, actor=world.TESTER)
    if state in ("pending", "failed"):
        set_state(run, state)
    return run


def _hold_run(before: str, after: str) -> str:
    finished = ("completed", "failed", "canceled")
    return "billing_runs_finished_has_time" if (before in finished) != (after in finished) else ""


def _start_run(row: BillingRun) -> object:
    """Retry a finished run; a paused one is resumed."""
    act = resume_run if row.status == "paused" else retry_failed
    return act(run_id=row.pk, at=world.DECEMBER, actor=world.TESTER)


RUNS: Final = StateTable(
    model=BillingRun,
    transitions=RUN_TRANSITIONS,
    arrange=_arrange_run,
    moves={
        "running": _start_run,
        "paused": lambda row: pause_run(run_id=row.pk, at=world.DECEMBER, actor=world.TESTER),
        "completed": lambda row: work_run(run_id=row.pk, actor=world.TESTER),
        "canceled": lambda row: cancel_run(run_id=row.pk, at=world.DECEMBER, actor=world.TESTER),
    },
    quiet=frozenset((before, "completed") for before in ("completed", "failed", "paused", "canceled")),
    # A run begins running, and what fails is one of its rows: nothing else leads there yet.
    unserved=frozenset({("pending", "running"), ("pending", "failed"), ("running", "failed")}),
    held=_hold_run,
    allows=BillingRun.can_become,
)


def _arrange_outcome(state: str, to: str) -> RunOutcome:
    ends = to if state == "pending" else state
    run = _plan_run(fails=ends == "failed", plan="payg" if ends == "nothing_to_bill" else "pro")
    if ends == "held_for_review":
        Seller.objects.update(review_amounts={"usd": 999})  # the fee is 1000
    if state == "canceled":
        cancel_run(run_id=run.pk, at=world.DECEMBER, actor=world.TESTER)
    elif state != "pending":
        work_run(run_id=run.pk, actor=world.TESTER)
    return RunOutcome.objects.get(run=run)


def _hold_outcome(before: str, after: str) -> str:
    # What is held has an invoice and says why, as what was issued and what failed do.
    if before == after or (before, after) in (("issued", "held_for_review"), ("held_for_review", "failed")):
        return ""
    return {
        "issued": "billing_run_outcomes_issued_has_invoice",
        "held_for_review": "billing_run_outcomes_held_has_draft",
        "failed": "billing_run_outcomes_failed_has_error",
    }.get(after, "")


def _work_outcome(row: RunOutcome) -> object:
    return work_run(run_id=row.run_id, actor=world.TESTER)


def _cancel_outcome(row: RunOutcome) -> object:
    return cancel_run(run_id=row.run_id, at=world.DECEMBER, actor=world.TESTER)


_SETTLED: Final = ("issued", "nothing_to_bill", "failed", "held_for_review")
_ENDS: Final = (*_SETTLED, "canceled")
OUTCOMES: Final = StateTable(
    model=RunOutcome,
    transitions={
        "pending": frozenset(_ENDS),
        "failed": frozenset({"pending"}),
        **_final("issued", "nothing_to_bill", "held_for_review", "canceled"),
    },
    arrange=_arrange_outcome,
    moves={
        "pending": lambda row: retry_failed(run_id=row.run_id, at=world.DECEMBER, actor=world.TESTER),
        "canceled": _cancel_outcome,
        **dict.fromkeys(_SETTLED, _work_outcome),
    },
    quiet=frozenset((before, after) for before in _ENDS for after in _SETTLED),
    held=_hold_outcome,
)


# ---- invoices -------------------------------------------------------------------------------------------------------
def _arrange_invoice(state: str, to: str) -> Invoice:
    """
    A draft is the issued one before it was issued; what only payments lead to is written.

    One that is to become paid by issuing it is over nothing.
    """
    world.publish()
    world.subscribe(world.open_account(), "pro")
    invoice = world.list_invoices()[0]
    if state == "draft":
        return world.copy_as_draft(invoice, over_nothing=to == "paid")
    if state == "paid" and to == "open":
        settle_by_note(invoice)
        invoice.refresh_from_db()
    elif state == "paid":
        set_state(invoice, state, paid_at=_MIDDLE, amount_paid=invoice.amount_due)
    elif state == "uncollectible":
        set_state(invoice, state)
    elif state == "void":
        void_invoice(invoice_id=invoice.pk, **_BY)
    return invoice


def _hold_invoice(before: str, after: str) -> str:
    if before == after:
        return ""
    if before == "draft":
        return "invoices_void_has_time" if after == "void" else "invoices_issued_has_number"
    if after not in INVOICE_TRANSITIONS[before] or before == "paid":
        return "invoices_issued_immutable"
    return {"paid": "invoices_paid_has_time", "void": "invoices_void_has_time"}.get(after, "")


def _open(row: Invoice) -> object:
    return void_note_of(row) if row.status == "paid" else _issue(row)


def _issue(row: Invoice) -> object:
    return finalize_invoice(invoice_id=row.pk, **_BY)


def _settle(row: Invoice) -> object:
    return _issue(row) if row.status == "draft" else _pay(row)


INVOICES: Final = StateTable(
    model=Invoice,
    transitions=INVOICE_TRANSITIONS,
    arrange=_arrange_invoice,
    moves={
        "open": _open,
        "paid": _settle,
        "void": lambda row: void_invoice(invoice_id=row.pk, **_BY),
        "uncollectible": lambda row: mark_uncollectible(invoice_id=row.pk, **_BY),
    },
    held=_hold_invoice,
    allows=Invoice.can_become,
)


def _arrange_review(state: str, _to: str) -> InvoiceReview:
    """The second fee is held, because it is above the amount."""
    world.publish()
    world.subscribe(world.open_account(), "pro")
    Seller.objects.update(review_amounts={"usd": 999})
    world.run_cycle(as_of=world.DECEMBER)
    review = InvoiceReview.objects.get()
    if state != "waiting":
        REVIEWS.moves[state](review)
    return review


REVIEWS: Final = StateTable(
    model=InvoiceReview,
    transitions=REVIEW_TRANSITIONS,
    arrange=_arrange_review,
    moves={
        "released": lambda row: release_review(review_id=row.pk, at=world.DECEMBER, actor=world.TESTER),
        "discarded": lambda row: discard_review(review_id=row.pk, at=world.DECEMBER, actor=world.TESTER, reason="no"),
    },
    held=lambda before, after: (
        "invoice_reviews_decided_has_time" if (before == "waiting") != (after == "waiting") else ""
    ),
    allows=InvoiceReview.can_become,
)


TABLES: Final = (
    ACCOUNTS,
    ALERTS,
    APPROVALS,
    CASES,
    CREDIT_NOTES,
    DISPUTES,
    REFUNDS,
    DRAFTS,
    DRIFTS,
    EXPORTS,
    HOLDS,
    INSTRUCTIONS,
    INBOUND_EVENTS,
    INVOICES,
    JOBS,
    MANUAL_PAYMENTS,
    MOVES,
    PAYMENTS,
    MOVE_ITEMS,
    NOTICES,
    OUTCOMES,
    PAYMENT_METHODS,
    PAYOUTS,
    RESERVATIONS,
    REVIEWS,
    RUNS,
    SCHEDULES,
    SETUPS,
    SUBSCRIPTIONS,
    TRANSFERS,
    USAGE_IMPORTS,
    WORK_ITEMS,
)
