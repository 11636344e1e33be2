"""Where a device's SunSpec map is, and which models it has: only reads, and not many.

::

    base      53 75 6E 53       "SunS"
    base + 2  ID, length L      a model: two registers, then L more
              ID, length L      the next one
              FF FF             the end

A device may say anything. The chain is followed up to MAX_MODELS models and never past address 65535; what
is odd about it is told in ``Found.trouble``, and does not hinder what can be used.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from fluxfast.client import Client
from fluxfast.errors import FluxfastError, TransportError
from fluxfast.profiles.document import one_line

BASES: Final = (40000, 0, 50000)
MARKER: Final = (0x5375, 0x6E53)
END: Final = 0xFFFF
MAX_MODELS: Final = 256
COMMON: Final = 1  # the model that says who made the device
# The ranges of numbers that SunSpec has given out, and vendors' own from 63001 on.
_GIVEN_OUT: Final = (
    (1, 19), (101, 145), (160, 160), (201, 220), (302, 308), (401, 404), (501, 502), (601, 601), (701, 799),
    (801, 899), (63001, END),
)  # fmt: skip
_COMMON_LENGTHS: Final = (66, 65)  # with and without its last register, which pads
_TEXTS: Final = (("manufacturer", 16), ("model", 16), ("options", 8), ("version", 8), ("serial_number", 16))

Progress = Callable[[int, int, str], None]  # done, of how much, what


class Model(NamedTuple):
    """One model of a device: ``length`` registers follow its two of ID and length, which begin at address."""

    id: int
    address: int
    length: int

    @property
    def end(self) -> int:
        """The address after its last register."""
        return self.address + 2 + self.length


@dataclass(frozen=True, slots=True)
class Common:
    """What a device says of itself, fit to print; empty where it says nothing."""

    manufacturer: str = ""
    model: str = ""
    options: str = ""
    version: str = ""
    serial_number: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """A device's map; addresses are PDU addresses of holding registers."""

    base: int
    models: tuple[Model, ...]
    common: Common
    trouble: tuple[str, ...] = ()  # what is not as SunSpec has it


async def discover(client: Client, progress: Progress = lambda *_: None) -> Found:
    """Return the map of the device that a client speaks to, by its unit, timeout and retries.

    Raises FluxfastError where none is found; TransportError where there is no connection.
    """
    base = await _find(client, progress)
    chain = _Chain(client, progress)
    await chain.follow(base + len(MARKER))
    common = next((model for model in chain.models if model.id == COMMON), None)
    said = Common() if common is None else await _common(client, common)
    return Found(base, tuple(chain.models), said, tuple(chain.trouble))


async def _find(client: Client, progress: Progress) -> int:
    """Return the base; what goes wrong at one does not keep from trying the others."""
    told: dict[str, list[int]] = {}  # what was answered, and at which bases
    errors: list[FluxfastError] = []
    for done, base in enumerate(BASES):
        progress(done, len(BASES), f"SunSpec at {base}?")
        try:
            if await client.read_holding_registers(base, len(MARKER)) == MARKER:
                return base
            told.setdefault("something else", []).append(base)
        except FluxfastError as error:
            told.setdefault(str(error), []).append(base)
            errors.append(error)
    if len(errors) == len(BASES) and all(isinstance(error, TransportError) for error in errors):
        raise errors[0]
    listed = "; ".join(f"{', '.join(map(str, bases))}: {answer}" for answer, bases in told.items())
    raise FluxfastError(f"no SunSpec map at {listed}")


class _Chain:
    """Goes from model to model."""

    def __init__(self, client: Client, progress: Progress) -> None:
        self.models: list[Model] = []
        self.trouble: list[str] = []
        self._client = client
        self._progress = progress

    async def follow(self, address: int) -> None:
        """Collect models from the address of the first one's ID."""
        while (id_ := await self._word(address)) is not None and id_ != END:
            self._progress(len(self.models), len(self.models) + 1, f"model {id_} at {address}")
            # apart from the ID: some devices have no length after the end's
            length = await self._word(address + 1)
            if length is None:
                return
            model = Model(id_, address, length)
            if id_ == 0:
                self.trouble.append(f"the models end at {address} with ID 0 instead of {END}")
                return
            if model.end > 0x10000:
                self.trouble.append(f"model {id_} at {address} claims {length} registers, past 65535")
                return
            if id_ == COMMON and not self.models:
                model = await self._mended(model)
            self.models.append(model)
            if len(self.models) == MAX_MODELS:
                self.trouble.append(f"{MAX_MODELS} models, and no end at {model.end}: no more are looked at")
                return
            address = model.end

    async def _word(self, address: int) -> int | None:
        """Return a register of a header; None, and trouble, where there is none."""
        if address > 0xFFFF:
            self.trouble.append("the models reach 65535 without an end")
            return None
        try:
            (word,) = await self._client.read_holding_registers(address)
        except FluxfastError as error:
            if not self.models:
                raise
            self.trouble.append(f"the models end at {address} without an end: {error}")
            return None
        return word

    async def _mended(self, model: Model) -> Model:
        """Return the common model with the one of its two lengths that leads to another model.

        Some devices claim the one and have the other.
        """
        if model.length not in _COMMON_LENGTHS or await self._leads_on(model):
            return model
        (other,) = (length for length in _COMMON_LENGTHS if length != model.length)
        mended = model._replace(length=other)
        if not await self._leads_on(mended):
            return model
        self.trouble.append(f"model {COMMON} claims {model.length} registers and has {other}")
        return mended

    async def _leads_on(self, model: Model) -> bool:
        try:
            (id_,) = await self._client.read_holding_registers(model.end)
        except FluxfastError:
            return False
        return any(first <= id_ <= last for first, last in _GIVEN_OUT)


async def _common(client: Client, model: Model) -> Common:
    """Return the texts of a common model; those that cannot be read stay empty."""
    said, address = {}, model.address + 2
    for name, size in _TEXTS:
        if address + size <= model.end:
            try:
                words = await client.read_holding_registers(address, size)
                said[name] = text_of(words)
            except FluxfastError:
                pass
        address += size
    return Common(**said)


def text_of(words: tuple[int, ...]) -> str:
    """Return the text in registers up to its first NUL, with what does not print escaped."""
    data = b"".join(word.to_bytes(2) for word in words).split(b"\0")[0]
    return one_line(data.decode("utf-8", "replace").strip())
