"""Small pieces of the server's own pages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --good: #15803d; --bad: #b91c1c; --ink: #4f46e5; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 76rem; padding: 1.5rem; }
h1 { font-size: 1.4rem; margin: 0 0 .3rem; } h2 { font-size: 1.05rem; margin: 1.8rem 0 .4rem; }
p { margin: .3rem 0; } .note { opacity: .7; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: .3rem .5rem; }
th { font-weight: 500; opacity: .7; } tr { border-bottom: 1px solid var(--line); } td.n { text-align: right; }
form { display: inline; } code { font-size: .85rem; }
button, select, input { font: inherit; padding: .2rem .6rem; margin: .1rem; border: 1px solid var(--line);
  border-radius: .4rem; background: var(--soft); color: inherit; }
button { cursor: pointer; } button.main { background: var(--ink); color: #fff; padding: .5rem 1.2rem; }
.card { border: 1px solid var(--line); border-radius: .8rem; padding: 1.2rem; max-width: 30rem; margin: 2rem auto; }
.error { color: var(--bad); font-weight: 600; } .good { color: var(--good); } .bar > * { margin-right: .4rem; }
label { display: block; margin: .6rem 0; }
"""


class Html(str):
    """Text that is markup already; everything else is escaped."""

    __slots__ = ()


def text(value: object) -> Html:
    """Return a value as text of a page."""
    return value if isinstance(value, Html) else Html(escape(str(value)))


def page(title: str, *parts: Html) -> str:
    """Return a whole document."""
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{escape(title)}</title><style>{STYLE}</style><body>{''.join(parts)}</body></html>"
    )


def tag(name: str, *content: object, css: str = "") -> Html:
    """Return an element."""
    attribute = f' class="{escape(css)}"' if css else ""
    return Html(f"<{name}{attribute}>{''.join(text(part) for part in content)}</{name}>")


def link(address: str, *content: object) -> Html:
    """Return a link."""
    return Html(f'<a href="{escape(address)}">{"".join(text(part) for part in content)}</a>')


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> Html:
    """Return a table, or a sentence where it is empty."""
    body = [tag("tr", *[tag("td", cell) for cell in row]) for row in rows]
    if not body:
        return tag("p", "None yet.", css="note")
    return tag("table", tag("tr", *[tag("th", head) for head in heads]), *body)


def button(label: str, action: str, hidden: Mapping[str, object], *, css: str = "") -> Html:
    """Return a form of one button."""
    fields = "".join(
        f'<input type=hidden name="{escape(name)}" value="{escape(str(value))}">' for name, value in hidden.items()
    )
    press = f'<button class="{escape(css)}">{escape(label)}</button>'
    return Html(f'<form method=post action="{escape(action)}">{fields}{press}</form>')


def choose(name: str, options: Iterable[tuple[str, str]]) -> Html:
    """Return a list to choose from: values and their words."""
    shown = "".join(f'<option value="{escape(value)}">{escape(words)}</option>' for value, words in options)
    return Html(f'<select name="{escape(name)}">{shown}</select>')
