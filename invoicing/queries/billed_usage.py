"""
What was billed before of the usage that a boundary looks at: lines of past periods in which usage came late, and lines
that bill the running period already.

Whether anything came late is asked of totals, in one statement for all subscriptions; only where something did are the
lines read and the usage measured again. Source: policies, rules 17 and 19; ADR 0040.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple, cast

from django.db import connection
from django.db.models import F, Q, QuerySet

from accounts.models import CostCenter, SubscriptionItem
from billing_site.kernel.ids import encode_id
from billing_site.kernel.money import allocate
from billing_site.kernel.periods import Period, local_date, local_midnight
from catalog.pricing.usage import Usage
from invoicing.calculation.billed import BilledFacts, BilledKind
from invoicing.calculation.centers import CenterFacts, CenterShare
from invoicing.calculation.discounts import DiscountFacts
from invoicing.calculation.facts import ChargeFacts
from invoicing.models import Invoice, InvoiceLine, InvoiceStatus, LineType, Seller
from invoicing.queries.billables import Billables, DueBoundary
from invoicing.queries.charges import make_charge_facts
from invoicing.queries.members import bills_any
from metering.queries.measuring import MeasuredUsage
from metering.stores import QuantityRequest, Watermark, read_watermarks

_STANDING: Final = """
    SELECT s.subscription_id, i.id, i.meter_id, line.id, line.period_start, line.period_end,
           coalesce(later.usage_events, line.usage_events), coalesce(later.usage_recorded_at, line.usage_recorded_at)
    FROM unnest(%s::uuid[], %s::timestamptz[]) AS s (subscription_id, since)
    JOIN subscription_items i ON i.subscription_id = s.subscription_id AND i.meter_id IS NOT NULL
    JOIN invoice_lines line ON line.subscription_item_id = i.id AND line.type = 'usage' AND NOT line.is_reversed
        AND line.original_line_id IS NULL AND line.period_end > s.since
    LEFT JOIN LATERAL (
        SELECT usage_events, usage_recorded_at FROM invoice_lines later
        WHERE later.original_line_id = line.id AND NOT later.is_reversed
        ORDER BY later.sequence DESC LIMIT 1
    ) later ON true
    ORDER BY line.id
"""


@dataclass(frozen=True, slots=True)
class LateCharge:
    """
    Usage of a past period that is to be measured again.

    `facts` are those of the newest line that billed it, with what was billed. `counted` is where the period stands now.
    """

    item: SubscriptionItem
    facts: ChargeFacts
    counted: Watermark


@dataclass(slots=True)
class BilledBefore:
    """What came late for one boundary, and what was billed of the period it closes, by item and start."""

    late: list[LateCharge] = field(default_factory=list)
    running: dict[tuple[uuid.UUID, datetime], BilledFacts] = field(default_factory=dict)


class _Standing(NamedTuple):
    """A usage line that stands, with the watermark of the newest one on top of it."""

    subscription_id: uuid.UUID
    item_id: uuid.UUID
    meter_id: uuid.UUID
    line_id: uuid.UUID
    start: datetime
    end: datetime
    events: int | None
    recorded_at: datetime | None

    @property
    def period(self) -> Period:
        return Period(self.start, self.end)


class _Silent(NamedTuple):
    """A past period of an item that has no line, because nothing was used in it when it was billed."""

    item: SubscriptionItem
    period: Period


def find_billed_usage(boundaries: Sequence[DueBoundary], billables: Billables) -> dict[uuid.UUID, BilledBefore]:
    """
    Return what was billed before, by subscription; those without any are left out.

    Looked for once per subscription while `billables` lasts: what is older than its first boundary does not change
    before the last. Two statements for all of them together, and six more when something came late or was billed ahead.
    """
    asked = {each.subscription.id: each for each in boundaries if _is_asked(each, billables)}
    billables.looked_back.update(asked)
    if not asked:
        return {}
    standing = _list_standing(asked, billables)
    past = [each for each in standing if each.end <= _get_start(asked[each.subscription_id])]
    ahead = [each for each in standing if each.end > _get_start(asked[each.subscription_id])]
    silent = list(_list_silent(asked, standing, billables))
    changed, heard = _find_changed(asked, past, silent)
    if not (changed or heard or ahead):
        return {}
    found: dict[uuid.UUID, BilledBefore] = defaultdict(BilledBefore)
    chains = _load_chains([*(line.line_id for line, _ in changed), *(each.line_id for each in ahead)])
    for line, counted in changed:
        chain = chains[line.line_id]
        if not chain.is_open:
            late = LateCharge(chain.item, replace(chain.facts, billed=chain.describe("late")), counted)
            found[line.subscription_id].late.append(late)
    for each in ahead:
        found[each.subscription_id].running[each.item_id, each.start] = chains[each.line_id].describe("rest")
    for charge in _make_silent_charges(heard, asked, billables):
        found[charge.item.subscription_id].late.append(charge)
    return found


def list_silent_periods(boundaries: Sequence[DueBoundary], billables: Billables) -> list[tuple[uuid.UUID, Period]]:
    """
    Return, by item, the past periods without a line whose usage the boundaries would still bill. One query.

    Looks only; what `billables` knows of past periods stays as it is.
    """
    asked = {each.subscription.id: each for each in boundaries if each.closing and each.subscription.is_billed_here}
    standing = _list_standing(asked, billables) if asked else []
    return [(each.item.id, each.period) for each in _list_silent(asked, standing, billables)]


def reaches_back(boundary: DueBoundary, period: Period, seller: Seller) -> bool:
    """Tell whether usage that comes late for a line over `period` is billed at the boundary. No query."""
    back = _list_back(boundary, seller) if boundary.subscription.is_billed_here else []
    return bool(back) and back[-1].start < period.end <= _get_start(boundary)


def _is_asked(boundary: DueBoundary, billables: Billables) -> bool:
    subscription = boundary.subscription
    is_new = subscription.id not in billables.looked_back
    return is_new and boundary.closing is not None and subscription.is_billed_here


def _get_start(boundary: DueBoundary) -> datetime:
    """Return where the usage that the boundary bills on time begins."""
    if boundary.closing is None:
        raise ValueError("a boundary that closes nothing bills no usage")
    return boundary.usage.start if boundary.usage is not None else boundary.closing.start


def _list_back(boundary: DueBoundary, seller: Seller) -> list[Period]:
    """Return the periods of the cycle before the one that closes, as far back as late usage is billed; newest first."""
    count, cycle, closing = seller.late_usage_periods, boundary.subscription.cycle, boundary.closing
    if closing is None or not count:
        return []
    index = cycle.index_at(closing.start)
    return [cycle.period(index - back) for back in range(1, count + 1)]


def _list_standing(asked: Mapping[uuid.UUID, DueBoundary], billables: Billables) -> list[_Standing]:
    since = []
    for each in asked.values():
        back = _list_back(each, billables.sellers.of(each.subscription.account))
        since.append(back[-1].start if back else _get_start(each))
    with connection.cursor() as cursor:
        cursor.execute(_STANDING, [list(asked), since])
        return [_Standing(*row) for row in cursor.fetchall()]


def _list_silent(
    asked: Mapping[uuid.UUID, DueBoundary], standing: Sequence[_Standing], billables: Billables
) -> Iterator[_Silent]:
    """Yield the past periods of items with a price of their own in which they were in force and have no line."""
    lines: dict[uuid.UUID, list[Period]] = defaultdict(list)
    for row in standing:
        lines[row.item_id].append(row.period)
    for boundary in asked.values():
        subscription = boundary.subscription
        items = [item for item in billables.items.get(subscription.id, ()) if item.meter_id and item.price is not None]
        back = _list_back(boundary, billables.sellers.of(subscription.account)) if items else []
        if not back:
            continue
        begun = local_midnight(local_date(subscription.started_at, subscription.zone), subscription.zone)
        begun = max(begun, subscription.trial_end or begun)
        prorated = [each for each in billables.waiting.of_subscription.get(subscription.id, ()) if each.item_id]
        for item in items:
            if item._state.adding:
                continue
            taken = [*lines[item.id], *(Period(each.period_start, each.period_end) for each in prorated)]
            since = begun if item.started_at == subscription.started_at else max(begun, item.started_at)
            for period in back:
                start, end = max(period.start, since), min(period.end, _get_start(boundary))
                if start < end and not any(other.start < end and start < other.end for other in taken):
                    yield _Silent(item, Period(start, end))


def _find_changed(
    asked: Mapping[uuid.UUID, DueBoundary], past: Sequence[_Standing], silent: Sequence[_Silent]
) -> tuple[list[tuple[_Standing, Watermark]], list[tuple[_Silent, Watermark]]]:
    """Return the lines that do not hold all usage of their period, and the silent periods that have some. One query."""
    requests = [
        QuantityRequest(asked[each.subscription_id].subscription.account_id, each.meter_id, each.period, to_bill=True)
        for each in past
    ]
    for quiet in silent:
        account_id = asked[quiet.item.subscription_id].subscription.account_id
        if quiet.item.meter_id is not None:
            requests.append(QuantityRequest(account_id, quiet.item.meter_id, quiet.period, to_bill=True))
    marks = read_watermarks(requests)
    changed = [
        (each, mark)
        for each, mark in zip(past, marks, strict=False)
        if (each.events, each.recorded_at) != (mark.event_count, mark.last_recorded_at)
    ]
    heard = [(each, mark) for each, mark in zip(silent, marks[len(past) :], strict=True) if mark.event_count]
    return changed, heard


# ---- lines that billed it -------------------------------------------------------------------------------------------
@dataclass(slots=True)
class _Chain:
    """The first line of some usage and those after it, oldest first, with what they asked for minimums."""

    lines: list[Any] = field(default_factory=list)
    true_up: int = 0

    @property
    def first(self) -> Any:
        return self.lines[0]

    @property
    def item(self) -> SubscriptionItem:
        return cast(SubscriptionItem, self.first.subscription_item)

    @property
    def is_open(self) -> bool:
        """Tell whether one of the lines is on a draft, which may still take up what came."""
        return any(line.invoice.status == InvoiceStatus.DRAFT for line in self.lines)

    @property
    def facts(self) -> ChargeFacts:
        # What is billed of it later stands on an invoice of its own making.
        return replace(ChargeFacts.from_dict(self.lines[-1].trace["charge"]), subscription="")

    def describe(self, kind: BilledKind) -> BilledFacts:
        first = self.first
        return BilledFacts(
            kind=kind,
            line=first.public_id,
            invoice=first.invoice.number_text,
            sequence=self.lines[-1].sequence + 1,
            quantity=self.facts.quantity,
            amount=sum(_get_asked(line) for line in self.lines),
            true_up=self.true_up,
            discounts=tuple(_list_discounts(first)),
            centers=_sum_centers(self.lines),
        )


def _load_chains(line_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, _Chain]:
    """Return what stands of usage by the id of its first line. Three queries."""
    chains = {line_id: _Chain() for line_id in line_ids}
    if not chains:
        return chains
    rows = (
        InvoiceLine.objects.filter(Q(id__in=chains) | Q(original_line__in=chains), is_reversed=False)
        .select_related("invoice", "subscription_item__price", "subscription_item__meter")
        .defer("invoice__trace", "invoice__account_snapshot", "invoice__seller_snapshot")
        .annotate(invoice_discounts=F("invoice__trace__discounts"))
        .prefetch_related("splits")
        .order_by("sequence")
    )
    places = {}
    for row in rows:
        chain = chains[row.original_line_id or row.id]
        chain.lines.append(row)
        places[row.invoice_id, row.subscription_item_id, row.period_start] = chain
    for line in _list_true_ups({place[0] for place in places}):
        owner = places.get((line.invoice_id, line.subscription_item_id, line.period_start))
        if owner is not None:
            owner.true_up += _get_asked(line)
    return chains


def _get_asked(line: InvoiceLine) -> int:
    """Return what a line asked for after discounts, as its price counts: with the tax that is inside the price."""
    taken = sum(int(each["amount"]) for each in line.trace.get("discounts") or ())
    return line.amount + int(line.trace.get("tax_included", 0)) - taken


def _list_true_ups(invoice_ids: Collection[uuid.UUID]) -> QuerySet[InvoiceLine]:
    return InvoiceLine.objects.filter(
        invoice__in=invoice_ids,
        type=LineType.ONE_OFF,
        meter__isnull=False,
        subscription_item__isnull=False,
        is_reversed=False,
    )


def _list_discounts(line: Any) -> Iterator[DiscountFacts]:
    """Yield the discounts of a line; of an amount off what it took."""
    taken = {each["id"]: int(each["amount"]) for each in line.trace.get("discounts") or ()}
    for stored in line.invoice_discounts or ():
        facts = replace(DiscountFacts.from_dict(stored), subscription="")
        if facts.id in taken and facts.amount_off is None:
            yield facts
        elif taken.get(facts.id):
            yield replace(facts, amount_off=taken[facts.id])


def _sum_centers(lines: Sequence[Any]) -> tuple[CenterShare, ...]:
    """Return what each center paid of the lines, as the price counts."""
    found: dict[uuid.UUID | None, CenterShare] = {}
    for line in lines:
        splits = list(line.splits.all())
        if not splits:
            continue
        inside = allocate(int(line.trace.get("tax_included", 0)), [abs(split.amount) for split in splits])
        for split, part in zip(splits, inside, strict=True):
            before = found.get(split.cost_center_id)
            quantity, amount = split.quantity, split.amount + part
            if before is not None:
                quantity, amount = quantity + before.center.quantity, amount + before.amount
            center_id = "" if split.cost_center_id is None else encode_id(CostCenter.id_prefix, split.cost_center_id)
            center = CenterFacts(center_id, split.code, split.name, quantity)
            found[split.cost_center_id] = CenterShare(center, amount)
    return tuple(found.values())


# ---- periods without a line -----------------------------------------------------------------------------------------
def _make_silent_charges(
    heard: Sequence[tuple[_Silent, Watermark]], asked: Mapping[uuid.UUID, DueBoundary], billables: Billables
) -> Iterator[LateCharge]:
    """
    Yield a charge for each period of which no usage is billed, at the price it had then.

    Nothing was used when it was invoiced, or that invoice was voided: the price is in its trace. Where there was no
    invoice at all it is today's.
    """
    if not heard:
        return
    invoices = list(
        Invoice.objects.filter(
            bills_any({each.item.subscription_id for each, _ in heard}),
            Q(boundary__isnull=False) | Q(is_grouped=True),
            period_end__gt=min(each.period.start for each, _ in heard),
        ).order_by("id")
    )
    true_ups: dict[tuple[uuid.UUID, uuid.UUID | None, datetime], int] = defaultdict(int)
    for line in _list_true_ups([each.id for each in invoices]) if invoices else ():
        true_ups[line.invoice_id, line.subscription_item_id, line.period_start] += _get_asked(line)
    priced = {}
    for invoice in invoices:
        for stored in invoice.trace.get("charges", ()):
            if stored["type"] == "usage" and "billed" not in stored:
                charge = replace(ChargeFacts.from_dict(stored), subscription="")
                priced[charge.item_id, charge.period.start] = (invoice, charge)
    for (item, period), counted in heard:
        found = priced.get((item.public_id, period.start))
        if found is not None and found[0].status == InvoiceStatus.DRAFT:
            continue  # it takes the usage up itself
        if found is None:
            billable = billables.bill_past(asked[item.subscription_id].subscription, item, period)
            facts = make_charge_facts(billable, (MeasuredUsage(), ()))
            yield LateCharge(item, replace(facts, billed=BilledFacts("late")), counted)
        else:
            invoice, facts = found
            true_up = true_ups[invoice.id, item.id, period.start]
            number = "" if invoice.status == InvoiceStatus.VOID else invoice.number_text
            billed = BilledFacts("late", invoice=number, true_up=true_up)
            yield LateCharge(item, replace(facts, usage=Usage(Decimal(0)), billed=billed), counted)
