"""
Invoices of subscriptions: issued, paid by the customer's default card or not, void, given up.

As far as a receiver of their events needs: fixed prices times quantity, without tax, discounts and proration.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.stripe_server.errors import StripeError
from tests.stripe_server.listing import select_created
from tests.stripe_server.resources import paying
from tests.stripe_server.resources.accounts import find_account
from tests.stripe_server.resources.customers import CUSTOMER, read_customer
from tests.stripe_server.resources.paying import PAYMENT_INTENT
from tests.stripe_server.resources.payment_intents import add_intent, make_intent
from tests.stripe_server.resources.payment_methods import resolve
from tests.stripe_server.routing import Answer, Call, Page, Route, Single
from tests.stripe_server.searching import search
from tests.stripe_server.store import Kind, Object, Store, copy_json

INVOICE = Kind(
    "invoice",
    "in_1",
    expandable={
        "customer": "customer",
        "default_payment_method": "payment_method",
        "discounts": "discount",
        "lines.data.discounts": "discount",
        "payments.data.payment.payment_intent": "payment_intent",
        "subscription": "subscription",
    },
    on_request=("payments",),
)
LINE_ITEM = Kind("line_item", "il_1", words="line item", expandable={"discounts": "discount"})
DISCOUNT = Kind("discount", "di_1")
"""Named in expansions; nobody gets one here."""
STATUSES = ("draft", "open", "paid", "uncollectible", "void")
_RETRY_SECONDS = 3 * 86400
_SEARCHABLE = ("created", "currency", "customer", "metadata", "number", "status", "subscription", "total")


def pay(call: Call) -> Answer:
    """POST /v1/invoices/{id}/pay, with the default card or another, or (`paid_out_of_band`) without any."""
    invoice, given = call.store.get(INVOICE, call.id), call.parameters
    method, outside = given.text("payment_method"), bool(given.boolean("paid_out_of_band"))
    given.boolean("off_session")
    given.finish()
    if invoice["status"] == "paid":
        raise StripeError("Invoice is already paid", code="invoice_already_paid")
    if invoice["status"] not in {"open", "uncollectible"}:
        raise StripeError(f"This invoice cannot be paid: it is {invoice['status']}.", code="invoice_not_editable")
    if outside:
        _mark_paid(call.store, invoice)
    else:
        collect(call.store, invoice, method=method)
    return Single(INVOICE, invoice)


def void(call: Call) -> Answer:
    """POST /v1/invoices/{id}/void."""
    return _end(call, "void", "voided_at", "invoice.voided", ("open", "uncollectible"))


def give_up(call: Call) -> Answer:
    """POST /v1/invoices/{id}/mark_uncollectible."""
    return _end(call, "uncollectible", "marked_uncollectible_at", "invoice.marked_uncollectible", ("open",))


def retrieve(call: Call) -> Answer:
    """GET /v1/invoices/{id}."""
    return Single(INVOICE, call.store.get(INVOICE, call.id))


def list_invoices(call: Call) -> Answer:
    """GET /v1/invoices."""
    given = call.parameters
    customer, subscription = read_customer(call), given.text("subscription")
    status, method = given.choice("status", STATUSES), given.text("collection_method")
    return Page(
        INVOICE,
        [
            invoice
            for invoice in select_created(call.store.newest(INVOICE), given)
            if customer in {None, invoice["customer"]}
            and subscription in {None, invoice["subscription"]}
            and status in {None, invoice["status"]}
            and method in {None, invoice["collection_method"]}
        ],
    )


def list_lines(call: Call) -> Answer:
    """GET /v1/invoices/{id}/lines."""
    return Page(LINE_ITEM, call.store.get(INVOICE, call.id)["lines"]["data"])


def search_invoices(call: Call) -> Answer:
    """GET /v1/invoices/search."""
    return search(call, INVOICE, call.store.newest(INVOICE), fields=_SEARCHABLE)


# ---- for subscriptions -----------------------------------------------------------------------------------------------
def issue(store: Store, subscription: Object, *, reason: str, start: int, end: int, is_free: bool = False) -> Object:
    """Make and finalize the invoice of a period, not paid yet."""
    id, at = store.ids.make(INVOICE.prefix), store.time_of(subscription["customer"])
    items = subscription["items"]["data"]
    lines = [_make_line(store, id, subscription, item, start, end, is_free=is_free) for item in items]
    invoice = store.add(INVOICE, _make(store, id, subscription, lines, reason=reason, start=start, end=end), id=id)
    store.emit("invoice.created", INVOICE, invoice)
    customer = store.get(CUSTOMER, subscription["customer"])
    number = f"{customer['invoice_prefix']}-{customer['next_invoice_sequence']:04}"
    customer["next_invoice_sequence"] += 1
    invoice.update(
        status="open",
        number=number,
        effective_at=at,
        hosted_invoice_url=f"{store.base_url}/i/{id}",
        invoice_pdf=f"{store.base_url}/i/{id}/pdf",
    )
    invoice["status_transitions"]["finalized_at"] = at
    store.emit("invoice.finalized", INVOICE, invoice)
    subscription["latest_invoice"] = id
    return invoice


def collect(store: Store, invoice: Object, *, method: str | None = None, is_retried: bool = False) -> bool:
    """
    Charge what is due to the card of the subscription or the customer; tell whether it is paid.

    :raises StripeError: 402 for a declined card, unless `is_retried` (nobody waits for the answer).
    """
    if invoice["amount_due"] == 0:
        _mark_paid(store, invoice)
        return True
    customer = store.get(CUSTOMER, invoice["customer"])
    default = invoice["default_payment_method"] or customer["invoice_settings"]["default_payment_method"]
    chosen = method or default
    before = copy_json(invoice)
    invoice["attempt_count"] += 1
    invoice["attempted"] = True
    try:
        if chosen is None:
            text = "This customer has no attached payment source or default payment method."
            raise StripeError(text, code="resource_missing")
        intent = _find_intent(store, invoice)
        found = resolve(store, chosen, customer=invoice["customer"])
        paying.confirm(store, intent, found, off_session=True, fail_on_action=True)
    except StripeError:
        invoice["next_payment_attempt"] = store.time_of(invoice["customer"]) + _RETRY_SECONDS
        store.emit("invoice.payment_failed", INVOICE, invoice)
        store.emit("invoice.updated", INVOICE, invoice, before=before)
        _tell_subscription(store, invoice, is_paid=False)
        if is_retried:
            return False
        raise
    _mark_paid(store, invoice)
    return True


def _mark_paid(store: Store, invoice: Object) -> None:
    before = copy_json(invoice)
    invoice.update(
        status="paid",
        amount_paid=invoice["amount_due"],
        amount_remaining=0,
        attempted=True,
        next_payment_attempt=None,
    )
    invoice["status_transitions"]["paid_at"] = store.time_of(invoice["customer"])
    store.emit("invoice.updated", INVOICE, invoice, before=before)
    store.emit("invoice.paid", INVOICE, invoice)
    store.emit("invoice.payment_succeeded", INVOICE, invoice)
    _tell_subscription(store, invoice, is_paid=True)


def _tell_subscription(store: Store, invoice: Object, *, is_paid: bool) -> None:
    from tests.stripe_server.resources import subscriptions

    if invoice["subscription"] is not None:
        subscriptions.hear_of_payment(store, invoice["subscription"], invoice, is_paid=is_paid)


def _end(call: Call, status: str, moment: str, event: str, allowed: Sequence[str]) -> Answer:
    invoice, store = call.store.get(INVOICE, call.id), call.store
    call.parameters.finish()
    if invoice["status"] not in allowed:
        text = f"This invoice is {invoice['status']}; it must be {' or '.join(allowed)}."
        raise StripeError(text, code="invoice_not_editable")
    before = copy_json(invoice)
    invoice.update(status=status, next_payment_attempt=None)
    invoice["status_transitions"][moment] = store.time_of(invoice["customer"])
    store.emit("invoice.updated", INVOICE, invoice, before=before)
    store.emit(event, INVOICE, invoice)
    return Single(INVOICE, invoice)


def _find_intent(store: Store, invoice: Object) -> Object:
    """Return the payment intent of an invoice; it has one for all its attempts."""
    known = store.note(invoice["id"]).get("payment_intent")
    if known is not None:
        return store.get(PAYMENT_INTENT, known)
    shown = make_intent(store, amount=invoice["amount_due"], currency=invoice["currency"])
    shown.update(customer=invoice["customer"], description="Subscription update")
    intent = add_intent(store, shown)
    store.note(invoice["id"])["payment_intent"] = intent["id"]
    store.emit("payment_intent.created", PAYMENT_INTENT, intent)
    invoice["payments"]["data"].append(
        {
            "id": store.ids.make("inpay_1"),
            "object": "invoice_payment",
            "amount_paid": None,
            "amount_requested": invoice["amount_due"],
            "created": store.time_of(invoice["customer"]),
            "currency": invoice["currency"],
            "invoice": invoice["id"],
            "is_default": True,
            "livemode": store.livemode,
            "payment": {"type": "payment_intent", "payment_intent": intent["id"]},
            "status": "open",
            "status_transitions": {"canceled_at": None, "paid_at": None},
        }
    )
    return intent


def _make_line(
    store: Store, invoice: str, subscription: Object, item: Object, start: int, end: int, *, is_free: bool
) -> Object:
    price = item["price"]
    quantity = item.get("quantity") or 0
    amount = 0 if is_free else (price["unit_amount"] or 0) * quantity
    return {
        "id": store.ids.make("il_1"),
        "object": "line_item",
        "amount": amount,
        "currency": subscription["currency"],
        "description": f"{quantity} × {price['nickname'] or price['product']}",
        "discount_amounts": [],
        "discountable": True,
        "discounts": [],
        "invoice": invoice,
        "livemode": store.livemode,
        "metadata": dict(subscription["metadata"]),
        "parent": {
            "invoice_item_details": None,
            "subscription_item_details": {
                "invoice_item": None,
                "proration": False,
                "proration_details": {"credited_items": None},
                "subscription": subscription["id"],
                "subscription_item": item["id"],
            },
            "type": "subscription_item_details",
        },
        "period": {"end": end, "start": start},
        "pretax_credit_amounts": [],
        "pricing": {"type": "price_details", "unit_amount_decimal": price["unit_amount_decimal"]},
        "quantity": quantity,
        "quantity_decimal": str(quantity),
        "subscription": subscription["id"],
        "subtotal": amount,
        "taxes": [],
    }


def _make(
    store: Store, id: str, subscription: Object, lines: list[Object], *, reason: str, start: int, end: int
) -> Object:
    customer = store.get(CUSTOMER, subscription["customer"])
    total = sum(line["amount"] for line in lines)
    is_sent = subscription["collection_method"] == "send_invoice"
    at = store.time_of(subscription["customer"])
    return {
        "account_country": find_account(store)["country"],
        "account_name": "Countinghouse Sandbox",
        "account_tax_ids": None,
        "amount_due": total,
        "amount_overpaid": 0,
        "amount_paid": 0,
        "amount_remaining": total,
        "amount_shipping": 0,
        "application": None,
        "attempt_count": 0,
        "attempted": False,
        "auto_advance": not is_sent,
        "automatic_tax": {
            "disabled_reason": None,
            "enabled": False,
            "liability": None,
            "provider": None,
            "status": None,
        },
        "automatically_finalizes_at": None,
        "billing_reason": reason,
        "collection_method": subscription["collection_method"],
        "created": at,
        "currency": subscription["currency"],
        "custom_fields": None,
        "customer": customer["id"],
        "customer_account": None,
        "customer_address": copy_json(customer["address"]),
        "customer_email": customer["email"],
        "customer_name": customer["name"],
        "customer_phone": customer["phone"],
        "customer_shipping": None,
        "customer_tax_exempt": customer["tax_exempt"],
        "customer_tax_ids": [],
        "default_payment_method": subscription["default_payment_method"],
        "default_source": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [],
        "due_date": at + (subscription["days_until_due"] or 0) * 86400 if is_sent else None,
        "effective_at": None,
        "ending_balance": 0,
        "footer": None,
        "from_invoice": None,
        "hosted_invoice_url": None,
        "invoice_pdf": None,
        "issuer": {"type": "self"},
        "last_finalization_error": None,
        "latest_revision": None,
        "lines": {"object": "list", "data": lines, "has_more": False, "url": f"/v1/invoices/{id}/lines"},
        "metadata": {},
        "next_payment_attempt": None,
        "number": None,
        "on_behalf_of": None,
        "parent": {
            "quote_details": None,
            "subscription_details": {
                "metadata": dict(subscription["metadata"]),
                "subscription": subscription["id"],
            },
            "type": "subscription_details",
        },
        "payment_settings": {"default_mandate": None, "payment_method_options": None, "payment_method_types": None},
        "payments": {"object": "list", "data": [], "has_more": False, "url": f"/v1/invoice_payments?invoice={id}"},
        "period_end": end,
        "period_start": start,
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "receipt_number": None,
        "rendering": None,
        "shipping_cost": None,
        "shipping_details": None,
        "starting_balance": 0,
        "statement_descriptor": None,
        "status": "draft",
        "status_transitions": {
            "finalized_at": None,
            "marked_uncollectible_at": None,
            "paid_at": None,
            "voided_at": None,
        },
        "subscription": subscription["id"],
        "subtotal": total,
        "subtotal_excluding_tax": total,
        "test_clock": customer["test_clock"],
        "total": total,
        "total_discount_amounts": [],
        "total_excluding_tax": total,
        "total_pretax_credit_amounts": [],
        "total_taxes": [],
        "webhooks_delivered_at": at,
    }


_ONE = "/v1/invoices/{id}"
ROUTES = (
    Route("GET", "/v1/invoices", list_invoices, "rak_invoice_read"),
    Route("GET", "/v1/invoices/search", search_invoices, "rak_invoice_read"),
    Route("GET", _ONE, retrieve, "rak_invoice_read"),
    Route("GET", f"{_ONE}/lines", list_lines, "rak_invoice_read"),
    Route("POST", f"{_ONE}/pay", pay, "rak_invoice_write"),
    Route("POST", f"{_ONE}/void", void, "rak_invoice_write"),
    Route("POST", f"{_ONE}/mark_uncollectible", give_up, "rak_invoice_write"),
)
