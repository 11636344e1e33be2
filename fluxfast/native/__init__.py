"""C leaves: unaligned big-endian loads and stores, the clock, one poll set. Knows nothing of Modbus.

May import nothing of fluxfast; everything may cimport it.
"""
