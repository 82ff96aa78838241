"""Random valid terms of every model, as a document writes them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from catalog.documents.price_models import MODEL_RULES, ROUNDINGS

amounts = st.from_regex(r"[0-9]{1,6}(\.[0-9]{1,12})?", fullmatch=True) | st.integers(0, 10**9)
sizes = st.integers(1, 10**6) | st.decimals("0.001", "1e6", places=3).map(str)
percents = st.decimals(0, 100, places=4).map(str)


@st.composite
def tier_lists(draw: st.DrawFn, model: str) -> list[dict[str, Any]]:
    """One to five tiers with ascending bounds, whole or fractional, spelled in any way."""
    bounds = sorted(draw(st.lists(st.decimals("0.5", "1e6", places=1), max_size=4, unique=True)))
    tiers: list[dict[str, Any]] = [{"up_to": str(bound)} for bound in bounds]
    tiers.append(draw(st.sampled_from([{"up_to": None}, {}, {"up_to": 0}])))
    for tier in tiers:
        for key in MODEL_RULES[model].tier_keys:
            value = draw(st.none() | (percents if key == "percent" else amounts))
            if value is not None:
                tier[key] = value
    return tiers


@st.composite
def own_terms(draw: st.DrawFn, model: str, *, is_usage: bool = True) -> dict[str, Any]:
    """What a price, or a variant of one, charges."""
    rule = MODEL_RULES[model]
    chosen = [*rule.required, *(key for key in rule.optional if draw(st.booleans()))]
    terms: dict[str, Any] = {}
    for key in chosen:
        match key:
            case "tiers":
                terms[key] = draw(tier_lists(model))
            case "unit_amount" if not is_usage:
                terms[key] = draw(st.integers(0, 10**6))
            case "package_size":
                terms[key] = draw(sizes)
            case "percent":
                terms[key] = draw(percents)
            case "free_events":
                terms[key] = draw(st.integers(0, 20))
            case "bill_zero_usage":
                terms[key] = draw(st.booleans())
            case "transform_quantity":
                terms[key] = {"divide_by": draw(sizes)}
                if draw(st.booleans()):
                    terms[key]["round"] = draw(st.sampled_from(ROUNDINGS))
            case "event_maximum":
                terms[key] = str(2 * 10**9)  # above whatever is fixed or least
            case _:
                terms[key] = draw(amounts)
    return terms


@st.composite
def usage_terms(draw: st.DrawFn, model: str) -> dict[str, Any]:
    """What a usage price charges, with bounds for the interval and variants by the dimensions `model` and `region`."""
    terms = draw(own_terms(model))
    if draw(st.booleans()):
        terms["maximum_amount"] = str(2 * 10**9)
    if model != "flat" and draw(st.booleans()):
        terms["minimum_amount"] = draw(amounts)
    if MODEL_RULES[model].has_variants and draw(st.booleans()):
        names = st.dictionaries(st.sampled_from(["model", "region"]), st.sampled_from("ab"), min_size=1)
        whens = draw(st.lists(names, max_size=3, unique_by=lambda when: tuple(sorted(when.items()))))
        terms["variants"] = [{"when": when, **draw(own_terms(model))} for when in whens]
    return terms


@st.composite
def usage_prices(draw: st.DrawFn) -> dict[str, Any]:
    """A usage price without meter, currency and interval."""
    model = draw(st.sampled_from(sorted(MODEL_RULES)))
    return {"model": draw(st.sampled_from([model, model.upper()])), **draw(usage_terms(model))}


@st.composite
def fees(draw: st.DrawFn) -> dict[str, Any]:
    """A fee without currency and interval."""
    model = draw(st.sampled_from(sorted(model for model, rule in MODEL_RULES.items() if rule.is_fee)))
    terms = draw(own_terms(model, is_usage=False))
    return terms if model == "flat" and draw(st.booleans()) else {"model": model, **terms}
