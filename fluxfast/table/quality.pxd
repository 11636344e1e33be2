# Quality codes of a cell, in OPC's three classes. Larger is worse; quality.py has the words.
from libc.stdint cimport uint8_t

cdef enum quality_code:
    Q_GOOD = 0
    # uncertain: the value is kept
    Q_LATE = 1             # came after its own tick's deadline
    Q_RANGE = 2            # outside the profile's limits
    # bad: the value is null in the log
    Q_BAD = 32             # first bad code
    Q_NOT_IMPLEMENTED = 32
    Q_NAN = 33
    Q_SKIPPED = 34         # the tick was skipped
    Q_NEVER = 35           # never read
    Q_TIMEOUT = 36
    Q_MALFORMED = 37       # the reply's PDU was not legal
    Q_MISMATCH = 38        # the reply did not answer its request
    Q_FRAMING = 39         # the stream was not Modbus
    Q_LOST = 40            # connection lost
    Q_REFUSED = 41         # connection refused
    Q_UNREACHABLE = 42     # connect timed out, no route
    Q_NO_HOST = 43         # the host name does not resolve
    Q_EXCEPTION = 64       # + exception code; + 0 for codes that no specification knows (0, above 62)
    Q_PARTIAL = 128        # set on a row's code: some cells are usable, this is the worst cell's
    Q_ABSENT = 255         # the device does not have this point


cdef inline uint8_t exception_quality(uint8_t code) noexcept nogil:
    return Q_EXCEPTION + (code if code <= 62 else 0)
