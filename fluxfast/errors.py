"""Every exception that fluxfast raises on purpose.

::

    FluxfastError
     ├─ ConfigError (ValueError)             a site file or profile is wrong; carries every problem found
     ├─ MissingExtraError (ImportError)      an optional library is not installed; names the pip command
     ├─ LocalProtocolError (ValueError)      we were asked to build something the specification forbids
     ├─ RemoteProtocolError                  the peer broke the protocol
     │   ├─ FramingError                     stream can no longer be trusted: closes the connection
     │   ├─ MalformedPduError                the frame is whole, the PDU inside is not legal
     │   └─ ResponseMismatchError            a legal PDU that does not answer this request
     ├─ ExceptionResponseError               a legal exception response
     ├─ NoAnswerError (TimeoutError)         nothing came in time
     ├─ UncertainWriteError                  a write without a clear answer: it may have been carried out
     └─ TransportError (OSError)             sockets
"""

from collections.abc import Sequence
from dataclasses import dataclass


class FluxfastError(Exception):
    """Base of all errors."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong in a file: where it is, what is wrong, and how to mend it."""

    file: str
    line: int | None
    where: str
    message: str
    cure: str = ""

    def __str__(self) -> str:
        """Return ``file:line: where: message. Cure`` on one line."""
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        text = f"{place}: {self.where}: {self.message}" if self.where else f"{place}: {self.message}"
        return f"{text} ({self.cure})" if self.cure else text


class ConfigError(FluxfastError, ValueError):
    """A site file or profile is wrong; ``problems`` lists all that was found, in file order."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        """Keep the problems; the message is one line for each."""
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class MissingExtraError(FluxfastError, ImportError):
    """An optional library is missing; the message names the ``pip install`` that brings it."""


class LocalProtocolError(FluxfastError, ValueError):
    """We were asked to build a frame that the specification forbids."""


class RemoteProtocolError(FluxfastError):
    """The peer broke the protocol."""


class FramingError(RemoteProtocolError):
    """The byte stream can no longer be cut into frames; there is no resynchronising."""


class MalformedPduError(RemoteProtocolError):
    """The frame is whole but the PDU in it is not legal."""


class ResponseMismatchError(RemoteProtocolError):
    """A legal PDU that does not answer the request it claims to answer."""


class ExceptionResponseError(FluxfastError):
    """The unit answered with a legal exception response."""

    def __init__(self, function_code: int, exception_code: int, text: str) -> None:
        """Keep the codes as the peer sent them; ``text`` is the specification's name."""
        self.function_code = function_code
        self.exception_code = exception_code
        super().__init__(f"function 0x{function_code:02X}: exception {exception_code} ({text})")


class TransportError(FluxfastError, OSError):
    """A socket failed."""


class NoAnswerError(FluxfastError, TimeoutError):
    """A request was not answered in time."""


class UncertainWriteError(FluxfastError):
    """A write got no clear answer, and could not be confirmed by reading it back."""
