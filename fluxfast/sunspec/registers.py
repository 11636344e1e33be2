"""Reads the registers of models, and learns what the device refuses.

A read covers whole fields only: some devices refuse to give half a value. What is refused is cut in two
until only that is left out which is refused by itself. Where both halves come and the whole does not, it is
too long, or it is over a border: that shows when longer reads come elsewhere.
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
        self._cut: list[tuple[int, int]] = []  # where halves came though the whole did not, and its length
        self._longest = 0

    @property
    def max_registers(self) -> int:
        """The longest read that the device answers, as far as is known."""
        return MAX_READ_REGISTERS if self._too_long is None else self._longest

    @property
    def borders(self) -> set[int]:
        """The addresses that a read must not run over, but may begin at."""
        return {address for address, quantity in self._cut if quantity <= self._longest}

    @property
    def _too_long(self) -> int | None:
        """The shortest read that was refused for its length."""
        return min((quantity for _, quantity in self._cut if quantity > self._longest), default=None)

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
        most = MAX_READ_REGISTERS if self._too_long is None else (self._longest + self._too_long) // 2
        for field in fields:
            if taken and field.address + field.size - taken[0].address > most:
                break
            taken.append(field)
        return taken

    async def _read(self, fields: Sequence[Field]) -> bool:
        """Read fields in one request, or in halves; return whether all of them came in the one."""
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
            whole = [await self._read(fields[:half]), await self._read(fields[half:])]
            if all(whole):
                self._cut.append((fields[half].address, quantity))
            return False
        self.words.update(enumerate(words, address))
        self._longest = max(self._longest, quantity)
        return True
