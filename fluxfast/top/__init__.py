"""``fluxfast top``: the devices of a running station, live on a terminal.

A client of the view socket, and of nothing else: without a station that runs, it starts one that polls.

- ``stations.py``: which station to watch, and the one of our own; ``own.py`` is that one's process
- ``sheet.py``: rows and columns to look at; ``devices.py``, ``sites.py``, ``points.py``: these
- ``snapshot.py``: one look, printed
- ``grid.py``: a sheet on the screen; ``header.py``, ``detail.py``, ``screens.py``, ``app.py``: the rest of it

Only the last line needs Textual.
"""
