"""What the footers of a log's files say of time."""

from datetime import UTC, datetime, timedelta
from typing import Final

import pyarrow.parquet as pq

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def bounds_us(group: pq.RowGroupMetaData) -> tuple[int, int] | None:
    """Return the first and the last ``time`` of a row group, if its statistics tell; UTC, since 1970."""
    for k in range(group.num_columns):
        column = group.column(k)
        if column.path_in_schema == "time":
            told = column.statistics
            return (to_us(told.min), to_us(told.max)) if told is not None and told.has_min_max else None
    return None


def to_us(moment: datetime) -> int:
    """Return microseconds since 1970; without a zone it is UTC."""
    whole = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (whole - _EPOCH) // timedelta(microseconds=1)
