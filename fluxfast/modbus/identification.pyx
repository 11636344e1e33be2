"""Read Device Identification: function 0x2B, MEI type 0x0E (MAP 6.21).

::

     request  | 2B | 0E | read_device_id_code | object_id |
     response | 2B | 0E | read_device_id_code | conformity_level | more_follows | next_object_id |
              | number_of_objects | object_id | length | value | object_id | length | value | ...

An identification that does not fit one PDU continues at ``next_object_id``. A unit that sends the same id
again would be asked for ever, so one that does not advance is refused here: no caller has to count rounds.

Invariants: those of request.pyx.
"""

from dataclasses import dataclass
from enum import IntEnum

cimport cython
from libc.stdint cimport uint8_t

from fluxfast.modbus.constants cimport (
    FX_ENCAPSULATED_INTERFACE_TRANSPORT,
    FX_MAX_PDU_SIZE,
    FX_MEI_READ_DEVICE_IDENTIFICATION,
)
from fluxfast.modbus.frame cimport FX_EXCEPTION, FX_MALFORMED, FX_WRONG_FUNCTION
from fluxfast.modbus.request cimport Request, pack_number, raise_status, to_bytes

from fluxfast.errors import LocalProtocolError, MalformedPduError, RemoteProtocolError, ResponseMismatchError


class ReadDeviceIdCode(IntEnum):
    """Which objects are asked for (MAP 6.21)."""

    BASIC = 1
    REGULAR = 2
    EXTENDED = 3
    SPECIFIC = 4


@dataclass(frozen=True)
class DeviceIdentification:
    """One response's objects by id; ``next_object_id`` is where to go on, None at the end."""

    conformity_level: int
    objects: dict[int, bytes]
    next_object_id: int | None = None


@cython.final
cdef class ReadDeviceIdentification(Request):
    """Function 0x2B / 0x0E (MAP 6.21): vendor, product and more, as a DeviceIdentification.

    LocalProtocolError unless the code is 1 to 4 and the object id 0 to 255.
    """

    def __init__(self, read_device_id_code, object_id=0):
        cdef uint8_t out[4]
        out[0] = FX_ENCAPSULATED_INTERFACE_TRANSPORT
        out[1] = FX_MEI_READ_DEVICE_IDENTIFICATION
        out[2] = <uint8_t>pack_number(read_device_id_code, "read device id code", 1, 4)
        out[3] = <uint8_t>pack_number(object_id, "object id", 0, 0xFF)
        self._pdu = to_bytes(out, 4)

    @property
    def read_device_id_code(self):
        """Which objects are asked for: a ReadDeviceIdCode's number."""
        return self._at(2)[0]

    @property
    def object_id(self):
        """The first object that is asked for."""
        return self._at(3)[0]

    cdef tuple _fields(self):
        return "read_device_id_code", "object_id"

    cdef object _judge(self, const uint8_t *p, const uint8_t *end):
        cdef const uint8_t *request = self._at(0)
        cdef Py_ssize_t n = end - p
        if n >= 1 and p[0] != request[0] and p[0] != (request[0] | 0x80):
            raise_status(FX_WRONG_FUNCTION, request[0], 0, p, end)
        if n == 2 and p[0] == (request[0] | 0x80):
            raise_status(FX_EXCEPTION, request[0], p[1], p, end)
        if n < 7 or n > FX_MAX_PDU_SIZE or p[0] != request[0]:
            raise_status(FX_MALFORMED, request[0], 0, p, end)
        if p[1] != request[1] or p[2] != request[2]:
            raise ResponseMismatchError(
                f"MEI type {p[1]}, read device id code {p[2]}: {request[1]}, {request[2]} were asked for"
            )
        if (p[3] & 0x7F) not in (1, 2, 3) or p[4] not in (0, 0xFF):
            raise MalformedPduError(f"conformity level 0x{p[3]:02X}, more follows 0x{p[4]:02X}")
        objects = self._objects(p, end)
        return DeviceIdentification(p[3], objects, p[5] if p[4] else None)

    cdef dict _objects(self, const uint8_t *p, const uint8_t *end):
        cdef Py_ssize_t at = 7
        cdef Py_ssize_t n = end - p
        cdef const uint8_t *request = self._at(0)
        cdef bint more_follows = p[4] != 0
        cdef bint is_specific = request[2] == 4
        cdef dict objects = {}
        for _ in range(p[6]):
            if n - at < 2 or n - at - 2 < p[at + 1]:
                raise MalformedPduError(f"{p[6]} objects do not fit in {n - 7} bytes")
            if p[at] in objects:
                raise MalformedPduError(f"object {p[at]} comes twice")
            objects[p[at]] = to_bytes(p + at + 2, p[at + 1])
            at += 2 + p[at + 1]
        if at != n:
            raise MalformedPduError(f"{n - at} bytes after the last object")
        if is_specific and (more_follows or p[6] != 1):
            raise MalformedPduError("one object was asked for: no other may come or follow")
        if is_specific and request[3] not in objects:
            raise ResponseMismatchError(f"object {p[7]}: object {request[3]} was asked for")
        if more_follows and (p[5] <= request[3] or p[5] <= max(objects, default=0)):
            raise MalformedPduError(f"next object id {p[5]} does not advance: it would be asked for ever")
        return objects

    def build_response(self, identification):
        """Return the response PDU; LocalProtocolError if ``parse_response`` would refuse it."""
        following = identification.next_object_id
        head = [
            *self._pdu[:3],
            pack_number(identification.conformity_level, "conformity level", 0, 0xFF),
            0 if following is None else 0xFF,
            0 if following is None else pack_number(following, "next object id", 0, 0xFF),
            pack_number(len(identification.objects), "number of objects", 0, 0xFF),
        ]
        parts = [bytes(head)]
        for object_id, value in identification.objects.items():
            size = pack_number(len(value), "object length", 0, 0xFF)
            parts += [bytes([pack_number(object_id, "object id", 0, 0xFF), size]), value]
        pdu = b"".join(parts)
        try:
            self.parse_response(pdu)
        except RemoteProtocolError as error:
            raise LocalProtocolError(str(error)) from error
        return pdu
