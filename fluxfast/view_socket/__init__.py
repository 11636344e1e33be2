"""The view socket: how other processes of the same user look on while a poller works.

- ``server.py``: ``ViewSocket``: who connects, what they ask, and what they get
- ``columns.py``: all devices as columns, for who watches many
- ``device.py``: one device to the last register and frame
"""

from fluxfast.view_socket.server import ViewSocket

__all__ = ["ViewSocket"]
