"""The dead man: a small process that commands 0 kW to the units of a station that died or hangs.

It waits for the station's goodbye, its death (the pipe ends, the pidfd is readable), or a heartbeat that
stands still. Then the station is killed, so that it never writes again and its connections are closed, and
every commanded unit is written to: 0 kW, then its Command Source; all endpoints at once, one request at a
time on each.

- ``__main__.py``: how it is started
- ``task.py``: the memory that it shares with the station, and what is written there
- ``watch.py``: waits for what may happen to the station
- ``stopper.py``: writes to the units, with patience
- ``run.py``: these three in turn, and the report

It is no part of the station: the standard library only, and nothing of fluxfast but this folder, hence the
relative imports. Once it is ready it imports nothing more, and needs no file when the machine is in trouble.
"""
