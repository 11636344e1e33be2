"""What a dataset is: its rows, its columns, and the Arrow schema of its files."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import pyarrow as pa

from fluxfast.errors import FluxfastError

TIME: Final = pa.timestamp("us", tz="UTC")
TEXT: Final = pa.dictionary(pa.int32(), pa.string())
ARROW_TYPES: Final[Mapping[str, pa.DataType]] = {
    "float64": pa.float64(),
    "float32": pa.float32(),
    "int64": pa.int64(),
    "uint64": pa.uint64(),
    "bool": pa.bool_(),
}
# Every file begins with these, then come the points. `date` is the folder's name.
ROW_FIELDS: Final = (
    pa.field("time", TIME, False, {"description": "the tick"}),
    pa.field("site", TEXT, False),
    pa.field("device", TEXT, False),
    pa.field("quality", TEXT, False, {"description": "good, uncertain or bad"}),
    pa.field("reason", TEXT, True, {"description": "why the row is not good"}),
    pa.field("latency_ms", pa.float32(), True, {"description": "tick to receive time", "unit": "ms"}),
    pa.field("run", TEXT, False, {"description": "which life of the station wrote the row"}),
)
RESERVED: Final = frozenset({*(f.name for f in ROW_FIELDS), "run", "date"})


class Words(NamedTuple):
    """The two tables that turn a row's ``uint8`` quality code into text; 256 entries each."""

    qualities: Sequence[str]
    reasons: Sequence[str | None]


@dataclass(frozen=True)
class Column:
    """One point of a dataset.

    ``dtype`` is a NumPy name: ``float64 float32 int64 uint64 bool``, or ``S<n>`` for text of at most n bytes
    of UTF-8. An ``int64`` column with ``labels`` is logged as text, a code without a label as its digits;
    ``labels[k]`` are those of the rows whose ``Dataset.variants`` is k.
    ``metadata`` (unit, address, scale …) goes into the file beside the column.
    """

    name: str
    dtype: str
    labels: Sequence[Mapping[int, str]] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what cannot be logged."""
        if self.name in RESERVED:
            raise FluxfastError(f"a point cannot be called '{self.name}': the log has a column of that name")
        if self.dtype not in ARROW_TYPES and not re.fullmatch(r"S[1-9]\d*", self.dtype):
            raise ValueError(f"{self.name}: dtype {self.dtype!r}, not one of {', '.join(ARROW_TYPES)}, S<n>")
        if self.labels and self.dtype != "int64":
            raise ValueError(f"{self.name}: labels need an int64 column, not {self.dtype}")

    @property
    def is_text(self) -> bool:
        """Whether the log holds text for this column."""
        return bool(self.labels) or self.dtype.startswith("S")


@dataclass(frozen=True)
class Dataset:
    """One folder of the log: ``sites[i]`` and ``devices[i]`` name row i in every tick.

    ``variants[i]`` says which of a column's label sets row i follows; without it all follow the first.
    ``words``: what its quality codes are called and why, if not as the writer has it.
    """

    name: str
    sites: Sequence[str]
    devices: Sequence[str]
    columns: Sequence[Column]
    metadata: Mapping[str, str] = field(default_factory=dict)
    variants: Sequence[int] = ()
    words: Words | None = None

    def __post_init__(self) -> None:
        """Refuse names that cannot be a folder or a column, and rows that do not match."""
        if not re.fullmatch(r"\w[\w.-]*", self.name):
            raise FluxfastError(
                f"'{self.name}' cannot be a folder of the log: use letters, digits, '_', '-', '.'"
            )
        if len(self.sites) != len(self.devices):
            raise ValueError(f"{self.name}: {len(self.sites)} sites for {len(self.devices)} devices")
        if self.words is not None and any(len(texts) != 256 for texts in self.words):
            raise ValueError(f"{self.name}: words for a code need 256 entries")
        if len({c.name for c in self.columns}) != len(self.columns):
            raise ValueError(f"{self.name}: two columns of the same name")

    @property
    def rows(self) -> int:
        """Rows of one tick."""
        return len(self.devices)

    def schema(self) -> pa.Schema:
        """Return the schema of this dataset's files.

        Each column's metadata is there twice: as Arrow field metadata, and as JSON under the file's key
        ``columns``, because DuckDB shows only the latter (``parquet_kv_metadata``).
        """
        points = [
            pa.field(c.name, TEXT if c.is_text else ARROW_TYPES[c.dtype], True, dict(c.metadata))
            for c in self.columns
        ]
        described = {c.name: dict(c.metadata) for c in self.columns}
        described["latency_ms"] = {"unit": "ms"}
        about = {**self.metadata, "dataset": self.name, "columns": json.dumps(described)}
        return pa.schema([*ROW_FIELDS, *points], metadata=about)
