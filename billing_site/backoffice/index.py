"""The overview page and the badge that says which world one is in."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.templatetags.static import static

from billing_site.backoffice.charts import draw_bars
from billing_site.backoffice.panels import (
    Cell,
    ChartPanel,
    Metric,
    PanelContext,
    TablePanel,
    build_panels,
    register_panel,
)
from billing_site.kernel import clock

__all__ = ["dashboard_context", "environment_badge", "register_panel"]


def dashboard_context(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add what the domains registered to the context of the index page."""
    at = clock.now()
    panels = build_panels(PanelContext(request=request, at=at))
    metrics = sorted((panel for panel in panels if isinstance(panel, Metric)), key=lambda panel: panel.order)
    charts = sorted((panel for panel in panels if isinstance(panel, ChartPanel)), key=lambda panel: panel.order)
    tables = sorted((panel for panel in panels if isinstance(panel, TablePanel)), key=lambda panel: panel.order)
    context.update(
        {
            "at": at,
            "metrics": metrics,
            "charts": [{"panel": chart, "drawing": draw_bars(chart)} for chart in charts],
            "tables": [{"panel": table, "rows": _as_cells(table)} for table in tables],
            "is_empty": not panels,
        }
    )
    return context


def _as_cells(table: TablePanel) -> list[list[Cell]]:
    return [
        [
            cell if isinstance(cell, Cell) else Cell(str(cell), numeric=position in table.numeric)
            for position, cell in enumerate(row)
        ]
        for row in table.rows
    ]


def environment_badge(_request: HttpRequest) -> list[str]:
    """Return the badge beside the user menu: live books or test books."""
    return ["Live", "danger"] if settings.BILLING_LIVEMODE else ["Test mode", "info"]


def stylesheet(_request: HttpRequest) -> str:
    """Return where the back office's own style sheet is."""
    return static("backoffice/backoffice.css")


def favicon(_request: HttpRequest) -> str:
    """Return where the site's icon is."""
    return static("backoffice/icon.svg")
