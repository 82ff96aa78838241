"""The editor's pages: a plan, a product or a meter of a draft, its rows, and the quote beside a price."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from django.contrib import messages
from django.http import Http404, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect, JsonResponse

from billing_site.backoffice.actions import error_text, staff_actor
from billing_site.kernel import clock
from billing_site.kernel.errors import DomainError, NotFound
from billing_site.kernel.money import get_exponent
from catalog.admin.draft_pages import DraftPage, page_url, say_saved
from catalog.admin.editor_document import (
    SINGULAR,
    Document,
    Entry,
    append_entry,
    duplicate_plan,
    find_key,
    get_entry,
    hash_entry,
    list_entries,
    remove_entry,
    replace_entry,
    restore_entry,
)
from catalog.admin.editor_fields import FindingPlaces
from catalog.admin.editor_parts import build_part_fields, read_part
from catalog.admin.editor_plan import Choices, build_plan_form, read_plan
from catalog.admin.editor_quote import quote_form_price
from catalog.admin.editor_rows import apply_operation
from catalog.admin.editor_values import FormReader, strip_origins
from catalog.documents.findings import Finding
from catalog.services.documents import check_document, list_currencies
from catalog.services.drafts import DraftResult, hash_document, update_draft

SECTIONS: Final = ("plans", "products", "meters")
_COMMON_CURRENCIES: Final = ("usd", "eur", "gbp", "chf", "jpy")


def edit_entry(page: DraftPage, section: str, index: int | None) -> HttpResponse:
    """Answer the form of an entry (None: a new one); posting stores it, or only redraws the form with other rows."""
    document = page.draft.document
    base = _find_base(page, section, index)
    if page.request.method != "POST":
        return _draw(page, section, index, base, document, seen=hash_entry(base))
    page.require_editable()
    form = FormReader(page.request.POST)
    read = read_plan(form, base) if section == "plans" else read_part(section, form, base)
    seen = form.text("seen")
    if operation := form.text("_do"):
        opened = apply_operation(read, operation)
        changed = _put_entry(document, section, index, strip_origins(read))
        return _draw(page, section, index, read, changed, seen=seen, opened=opened, asked=form)
    try:
        place, result = _store(page, section, index, strip_origins(read), seen=seen)
    except DomainError as error:
        messages.error(page.request, error_text(error))
        changed = _put_entry(document, section, index, strip_origins(read))
        return _draw(page, section, index, read, changed, seen=seen, status=409)
    say_saved(page.request, result.findings)
    if form.has("_continue"):
        return HttpResponseRedirect(page_url("entry", page.draft, section, place))
    return HttpResponseRedirect(f"{page_url('change', page.draft)}#{section}-{place}")


def copy_plan(page: DraftPage, index: int) -> HttpResponse:
    """Add a copy of a plan and open it."""
    if page.request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    page.require_editable()
    try:
        document, place = duplicate_plan(page.draft.document, index)
    except NotFound as error:
        raise Http404(error.detail) from error
    key = find_key("plans", get_entry(document, "plans", place))
    if _update(page, document, what=f"plan {key} added as a copy") is None:
        return HttpResponseRedirect(page_url("change", page.draft))
    messages.success(page.request, f"This is a copy: give it an id and a name of its own ({key} for now).")
    return HttpResponseRedirect(page_url("entry", page.draft, "plans", place))


def drop_entry(page: DraftPage, section: str, index: int) -> HttpResponse:
    """Remove an entry from the draft."""
    if page.request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    page.require_editable()
    try:
        key = find_key(section, get_entry(page.draft.document, section, index))
        document = remove_entry(page.draft.document, section, index)
    except NotFound as error:
        raise Http404(error.detail) from error
    what = f"{SINGULAR[section]} {key or index + 1} removed"
    if _update(page, document, what=what) is not None:
        messages.success(page.request, f"{what[:1].upper()}{what[1:]} from this draft.")
    return HttpResponseRedirect(page_url("change", page.draft))


def undo_change(page: DraftPage, section: str) -> HttpResponse:
    """Make one entry again what is published: put it back, take it out, or undo what was changed in it."""
    if page.request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    page.require_editable()
    if section not in SECTIONS:
        raise Http404("Drafts have no such part.")
    key = page.request.POST.get("key", "")
    published = page.active_content.as_editable_document() if page.active_content else {}
    try:
        changed = restore_entry(page.draft.document, published, section, key)
    except NotFound as error:
        raise Http404(error.detail) from error
    what = f"{SINGULAR[section]} {key} is again as published"
    if _update(page, changed, what=what) is not None:
        messages.success(page.request, f"{what[:1].upper()}{what[1:]}.")
    return HttpResponseRedirect(page_url("changes", page.draft))


def answer_quote(page: DraftPage, index: int | None) -> HttpResponse:
    """Answer what a quantity costs at the price in the posted form, as JSON; nothing is stored."""
    if page.request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    base = _find_base(page, "plans", index)
    form = FormReader(page.request.POST)
    number = form.text("_price")
    plan = read_plan(form, base)
    rows = form.rows("prices")
    place = next((at for at, row in enumerate(rows) if row.prefix == f"prices-{number}-"), None)
    if place is None:
        return JsonResponse({"errors": [{"field": "", "detail": "There is no such price."}]}, status=400)
    price = strip_origins(plan["prices"][place])
    return JsonResponse(quote_form_price(rows[place], price, _find_unit(page.draft.document, price)))


# ---- storing --------------------------------------------------------------------------------------------------------
def _find_base(page: DraftPage, section: str, index: int | None) -> Entry:
    """Return the stored entry that is edited; for a new one what it starts with."""
    if section not in SECTIONS:
        raise Http404("Drafts have no such part.")
    if index is not None:
        try:
            return get_entry(page.draft.document, section, index)
        except NotFound as error:
            raise Http404(error.detail) from error
    page.require_editable()
    product = page.request.GET.get("product", "")
    return {"product_id": product} if section == "plans" and product else {}


def _put_entry(document: Document, section: str, index: int | None, entry: Entry) -> Document:
    """Return the document as it would be, whatever was stored meanwhile."""
    if index is None:
        return append_entry(document, section, entry)[0]
    return replace_entry(document, section, index, entry, seen=hash_entry(get_entry(document, section, index)))


def _store(page: DraftPage, section: str, index: int | None, entry: Entry, *, seen: str) -> tuple[int, DraftResult]:
    document = page.draft.document
    if index is None:
        changed, place = append_entry(document, section, entry)
    else:
        changed, place = replace_entry(document, section, index, entry, seen=seen), index
    key = find_key(section, entry) or str(place + 1)
    what = f"{SINGULAR[section]} {key} {'added' if index is None else 'edited'}"
    return place, _save(page, changed, what=what)


def _save(page: DraftPage, document: Document, *, what: str) -> DraftResult:
    return update_draft(
        draft_id=page.draft.pk,
        document=document,
        at=clock.now(),
        actor=staff_actor(page.request),
        seen=hash_document(page.draft.document),
        what=what,
    )


def _update(page: DraftPage, document: Document, *, what: str) -> DraftResult | None:
    try:
        return _save(page, document, what=what)
    except DomainError as error:
        messages.error(page.request, error_text(error))
        return None


# ---- drawing --------------------------------------------------------------------------------------------------------
def _draw(
    page: DraftPage,
    section: str,
    index: int | None,
    entry: Entry,
    document: Document,
    *,
    seen: str,
    opened: frozenset[int] = frozenset(),
    asked: FormReader | None = None,
    status: int = 200,
) -> HttpResponse:
    """Answer the form of an entry; `document` is the draft's with the entry in its place."""
    place = len(list_entries(document, section)) if index is None else index
    is_posted = page.request.method == "POST"
    # An entry that nobody has filled in yet has nothing wrong with it.
    findings: Iterable[Finding] = ()
    if is_posted:
        findings = check_document(document)
    elif index is not None:
        findings = page.findings
    if index is None and is_posted:
        place -= 1
    places = FindingPlaces.of(findings)
    pointer = f"/{section}/{place}"
    is_new = index is None
    context: dict[str, Any] = {
        "section": section,
        "noun": SINGULAR[section],
        "is_new": is_new,
        "index": index,
        "seen": seen,
        "heading": find_key(section, entry) or f"New {SINGULAR[section]}",
        "finding_count": places.count_below(pointer),
        "back_url": f"{page_url('change', page.draft)}#{section}-{place}",
        "remove_url": "" if is_new else page_url("remove", page.draft, section, place),
        "copy_url": "" if is_new else page_url("copy", page.draft, place),
    }
    if section != "plans":
        fields = build_part_fields(section, entry, places, pointer)
        context |= {"fields": fields, "errors": places.take_below(pointer)}
        return page.render("catalog/editor_part.html", tab="change", status=status, **context)
    quotes = _quote_opened(asked, entry, opened, document)
    form = build_plan_form(entry, document=document, places=places, pointer=pointer, opened=opened, quotes=quotes)
    context |= {
        "form": form,
        "quote_url": page_url("new_quote", page.draft) if is_new else page_url("quote", page.draft, place),
        "currencies": _list_currencies(document),
        "exponents": _list_exponents(),
    }
    return page.render("catalog/editor_plan.html", tab="change", status=status, **context)


def _quote_opened(
    asked: FormReader | None, plan: Entry, opened: frozenset[int], document: Document
) -> dict[int, dict[str, Any]]:
    """Return the quotes for the prices a button was pressed in; the page's script asks for its own."""
    if asked is None or not asked.text("_do").startswith("quote:"):
        return {}
    rows, prices = asked.rows("prices"), plan.get("prices") or []
    found = {}
    for number in opened:
        if number < min(len(rows), len(prices)):
            price = strip_origins(prices[number])
            found[number] = quote_form_price(rows[number], price, _find_unit(document, price))
    return found


def _find_unit(document: Document, price: Entry) -> str | None:
    return dict(Choices.of(document).meters).get(str(price.get("meter") or "")) or None


def _list_currencies(document: Document) -> list[str]:
    """Return the currencies to suggest: those of the draft, the common ones, then the rest."""
    offered = list_currencies()
    used = [
        str(price.get("currency") or "").lower()
        for _, plan in list_entries(document, "plans")
        for price in plan.get("prices") or []
        if isinstance(price, dict)
    ]
    ordered = dict.fromkeys([*used, *_COMMON_CURRENCIES, *sorted(offered)])
    return [currency for currency in ordered if currency in offered]


def _list_exponents() -> dict[str, int]:
    """Return the digits of the currencies that do not have two, for the script."""
    return {currency: digits for currency in sorted(list_currencies()) if (digits := get_exponent(currency)) != 2}
