"""The command line: one file per command, which parses, calls and prints, and holds no logic.

Exit codes: 0 done, 1 done with findings, 2 bad input, 3 could not do it. May import everything; nothing
imports it.
"""

from fluxfast.cli.group import main

__all__ = ["main"]
