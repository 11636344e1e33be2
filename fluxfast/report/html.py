"""The pieces of HTML that pages are made of."""

from collections.abc import Collection, Iterable, Sequence
from html import escape
from typing import Final

from fluxfast.report.style import STYLE
from fluxfast.report.words import percent

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
GOOD_ENOUGH: Final = 0.99


def document(title: str, body: str) -> str:
    """Return a whole page."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def tiles(cells: Sequence[tuple[str, str]]) -> str:
    """Return key figures: what it is, and the figure."""
    inside = "".join(f"<li><span>{escape(name)}</span><b>{escape(value)}</b></li>" for name, value in cells)
    return f'<ul class="tiles">{inside}</ul>'


def section(title: str, note: str, inside: str) -> str:
    """Return a part of a page under a heading; ``inside`` is HTML."""
    head = f'<h2>{escape(title)}</h2><p class="note">{escape(note)}</p>'
    return f'<section class="long">{head}{inside}</section>'


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    wide: Collection[int] = (),
    texts: Collection[int] = (),
    last: Sequence[str] | None = None,
) -> str:
    """Return a table of HTML cells. ``wide``: columns that a phone leaves out; ``texts``: those of text.

    ``last``: a row of sums.
    """
    classes = [f"{'wide ' * (k in wide)}{'text' * (k in texts)}".strip() for k in range(len(head))]
    tags = [f' class="{name}"' if name else "" for name in classes]

    def line(cells: Sequence[str], cell: str = "td") -> str:
        return "".join(f"<{cell}{tag}>{one}</{cell}>" for tag, one in zip(tags, cells, strict=True))

    body = "".join(f"<tr>{line(row)}</tr>" for row in rows)
    if last is not None:
        body += f'<tr class="sum">{line(last)}</tr>'
    top = f"<thead><tr>{line(head, 'th')}</tr></thead>"
    return f'<div class="scroll"><table>{top}<tbody>{body}</tbody></table></div>'


def bar(share: float, enough: float = GOOD_ENOUGH) -> str:
    """Return a small bar, and the percentage; in another colour if that is not enough."""
    low = " low" if share < enough else ""
    return (
        f'<span class="bar{low}"><i style="width:{100 * share:.1f}%"></i></span>'
        f'<span class="share">{percent(share)}</span>'
    )
