"""What the entries of a document say about each other: ids used twice, names of nothing, upgrades in a circle."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from catalog.documents.findings import Collector, quote
from catalog.documents.index import DocumentIndex, Named


def check_references(index: DocumentIndex, findings: Collector) -> None:
    """Report duplicates, references that lead nowhere, and circles of upgrades."""
    for pointer, code, text in index.duplicates:
        findings.add(pointer, code, text)
    _check_known(index.product_references, index.products, "product_unknown", "product", findings)
    _check_known(index.product_lookup_references, index.product_lookup_keys, "product_unknown", "product", findings)
    _check_known(index.meter_references, index.meters, "meter_unknown", "meter", findings)
    _check_known([named for _, named in index.upgrades], index.plans, "plan_unknown", "plan", findings)
    _check_circles(index, findings)


def _check_known(
    references: Iterable[Named], known: Mapping[str, str] | set[str], code: str, kind: str, findings: Collector
) -> None:
    for named in references:
        if named.key not in known:
            findings.add(named.pointer, code, f"The document has no {kind} {quote(named.key)}.")


def _check_circles(index: DocumentIndex, findings: Collector) -> None:
    """Report each upgrade that leads back to a plan on the way to it. Without recursion: chains may be long."""
    upgrades: dict[str, list[Named]] = {}
    for plan, named in index.upgrades:
        if plan is not None and named.key in index.plans:
            upgrades.setdefault(plan, []).append(named)
    finished: set[str] = set()
    for start, first in upgrades.items():
        if start in finished or findings.is_full:
            continue
        path, on_path = [start], {start}
        pending = [iter(first)]
        while path and not findings.is_full:
            upgrade = next(pending[-1], None)
            if upgrade is None:
                finished.add(path[-1])
                on_path.discard(path.pop())
                pending.pop()
            elif upgrade.key in on_path:
                circle = [*path[path.index(upgrade.key) :], upgrade.key]
                shown = " → ".join(circle if len(circle) <= 8 else [*circle[:6], "…", circle[-1]])
                findings.add(upgrade.pointer, "upgrade_circle", f"Upgrades lead in a circle: {shown}.")
            elif upgrade.key not in finished:
                path.append(upgrade.key)
                on_path.add(upgrade.key)
                pending.append(iter(upgrades.get(upgrade.key, ())))
