"""A day of a log on one page for each site: what was read, what was missing, what was done.

Comes in: a log (``source.py``), day by day. Goes out: HTML that needs nothing else, and a picture of it.

- ``source.py``: which datasets, which days, batches of a day
- ``kinds.py``: what a dataset's devices are, by their profile
- ``rows.py``, ``tally.py``, ``control.py``: batches to sums for each device and bin of time
- ``day.py``: one day, read once
- ``figures.py``: what a site's page says
- ``page.py`` and, in it, ``curves.py``, ``tables.py``: how it says it
- ``html.py``, ``svg.py``, ``heat.py``, ``style.py``, ``words.py``: what these are made of
- ``index.py``: the page that lists the sites; ``picture.py``: a page as a PNG

May import shelf 4 and below; needs ``fluxfast.profiles``, ``config`` (time zones) and ``errors``.
"""

from fluxfast.report.day import Day
from fluxfast.report.figures import Figures, figures_of
from fluxfast.report.index import Entry, entry_of, render_index
from fluxfast.report.page import render
from fluxfast.report.picture import draw, need_matplotlib

__all__ = [
    "Day",
    "Entry",
    "Figures",
    "draw",
    "entry_of",
    "figures_of",
    "need_matplotlib",
    "render",
    "render_index",
]
