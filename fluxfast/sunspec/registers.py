"""Reads the registers of models, and learns what the device refuses.

A read covers whole fields only: some devices refuse to give half a value. What is refused is cut in two
until only that is left out which is refused by itself.
"""

from collections.abc import Sequence
from typing import Final

from fluxfast.client import Client
from fluxfast.constants import MAX_READ_REGISTERS, ExceptionCode
from fluxfast.errors import ExceptionResponseError
from fluxfast.sunspec.layout import Field

MAX_REFUSED: Final = 64  # of one model; then the rest of it is not asked for
_REFUSALS: Final = (
    ExceptionCode.ILLEGAL_DATA_ADDRESS,
    ExceptionCode.ILLEGAL_DATA_VALUE,
    ExceptionCode.SERVER_DEVICE_FAILURE,
)


class Registers:
    """What was read of one device."""

    def __init__(self, client: Client) -> None:
        """Nothing is read yet."""
        self._client = client
        self.words: dict[int, int] = {}
        self.refused: list[Field] = []
        self._too_long: int | None = None  # the shortest read that was refused though its parts were not
        self._longest = 0

    @property
    def max_registers(self) -> int:
        """The longest read to be asked for."""
        return MAX_READ_REGISTERS if self._too_long is None else min(self._longest, self._too_long)

    async def read(self, fields: Sequence[Field]) -> None:
        """Read adjacent fields."""
        refused_before = len(self.refused)
        waiting = list(fields)
        while waiting and len(self.refused) - refused_before < MAX_REFUSED:
            some = self._as_many_as_fit(waiting)
            del waiting[: len(some)]
            await self._read(some)
        self.refused += waiting

    def _as_many_as_fit(self, fields: Sequence[Field]) -> list[Field]:
        taken: list[Field] = []
        for field in fields:
            if taken and field.address + field.size - taken[0].address > self.max_registers:
                break
            taken.append(field)
        return taken

    async def _read(self, fields: Sequence[Field]) -> bool:
        """Read fields in one request, or in halves; return whether all of them came."""
        address = fields[0].address
        quantity = fields[-1].address + fields[-1].size - address
        try:
            if quantity > MAX_READ_REGISTERS:  # one field that no request can hold
                self.refused += fields
                return False
            words = await self._client.read_holding_registers(address, quantity)
        except ExceptionResponseError as error:
            if error.exception_code not in _REFUSALS:
                raise
            if len(fields) == 1:
                self.refused += fields
                return False
            half = len(fields) // 2
            complete = [await self._read(fields[:half]), await self._read(fields[half:])]
            if all(complete):
                self._too_long = min(quantity - 1, self._too_long or quantity)
            return all(complete)
        self.words.update(enumerate(words, address))
        self._longest = max(self._longest, quantity)
        return True
