"""Columns, their quality, and the kernel that decodes replies into them.

May import errors, constants and native; the plan's arrays come in as arguments.
"""

from fluxfast.table.decode import close_rows, decode_replies
from fluxfast.table.table import COLUMN, Table

__all__ = ["COLUMN", "Table", "close_rows", "decode_replies"]
