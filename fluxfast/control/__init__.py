"""What every battery unit shall do this tick: pure functions of columns, for all sites at once.

    targets (modes, limits) ─▶ kernel (units' limits, split, rounding) ─▶ guard (who may be written to)

Nothing here opens a socket or reads a clock: the same code runs live, in replay over a log, and in tests.
"""
