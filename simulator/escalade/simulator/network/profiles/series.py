"""Numbers over time, read from a CSV file; knows no profile.

A value holds until the next row's time, the last as long as the one before it did; then the series
comes round again, as mahimahi's traces do.
"""

from __future__ import annotations

import csv
import io
import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import median
from typing import ClassVar, Self

from escalade.edge.base import read_text
from escalade.edge.errors import DataError
from escalade.simulator.errors import ProfileError

#: Rows of a file: of the two numbers of each, and their sum, 24 MB are held.
_MOST_ROWS = 1_000_000
#: Of a file; a row of two numbers of 17 digits has 40.
_MOST_BYTES = 64 * _MOST_ROWS


class Series:
    """A step function of time that comes round.

    Two are equal where their numbers are.
    """

    #: What the second column is called, and the range of its values.
    column: ClassVar[str]
    most: ClassVar[float]

    def __init__(self, rows: Iterable[tuple[float, float]]) -> None:
        """Check and keep rows.

        Args:
            rows: `(time_s, value)`; the first one's time is the beginning.

        Raises:
            ProfileError: there is none, a time does not increase, a value is out of range, or all
                are 0.
        """
        self.times_s = array("d")
        self.values = array("d")
        #: Of the values over time, up to each row.
        self._sums = array("d")
        for number, (time_s, value) in enumerate(rows, start=1):
            self._append(number, time_s, value)
        if not any(self.values):
            raise ProfileError(f"must have a row with {self.column} above 0; got none")
        held_s = self.times_s[-1] - self.times_s[-2] if len(self.times_s) > 1 else 1.0
        #: After so many seconds it comes round.
        self.period_s = self.times_s[-1] + held_s
        self._total = self._sums[-1] + self.values[-1] * held_s

    def _append(self, number: int, time_s: float, value: float) -> None:
        if number > _MOST_ROWS:
            raise ProfileError(f"must have at most {_MOST_ROWS} rows; got more")
        if not 0 <= value <= self.most:
            allowed = f"0 <= {self.column} <= {self.most:g}"
            raise ProfileError(f"row {number}: {self.column} must be {allowed}; got {value}")
        if not self.times_s:
            self._begins_s = time_s
        at_s = time_s - self._begins_s
        if not at_s < math.inf or (self.times_s and at_s <= self.times_s[-1]):
            before = f" after {self.times_s[-1] + self._begins_s:g}" if self.times_s else ""
            raise ProfileError(
                f"row {number}: time_s must be finite and increase; got {time_s}{before}"
            )
        last = self._sums[-1] + self.values[-1] * (at_s - self.times_s[-1]) if self.times_s else 0.0
        self.times_s.append(at_s)
        self.values.append(value)
        self._sums.append(last)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a CSV file whose header is `time_s,` and this kind's column.

        Raises:
            ProfileError: names the file, and the row that is not right.
        """
        try:
            with path.open("rb") as stream:
                text = io.StringIO(read_text(stream, path, _MOST_BYTES), newline="")
            return cls(_rows(csv.reader(text), cls.column))
        except OSError as error:
            raise ProfileError(f"{path}: cannot be read: {error.strerror}") from error
        except DataError as error:
            raise ProfileError(str(error)) from error
        except csv.Error as error:
            raise ProfileError(f"{path}: no CSV text: {error}") from error
        except ProfileError as error:
            raise ProfileError(f"{path}: {error}") from error

    def csv_lines(self) -> Iterator[str]:
        """What `read` reads."""
        yield f"time_s,{self.column}\n"
        for time_s, value in zip(self.times_s, self.values, strict=True):
            yield f"{time_s!r},{value!r}\n"

    def at(self, at_s: float) -> float:
        """The value at a moment, in seconds since the series began."""
        return self.values[bisect_right(self.times_s, at_s % self.period_s) - 1]

    @property
    def median(self) -> float:
        """Of the rows' values, each as often as it stands there."""
        return median(self.values)

    @property
    def mean(self) -> float:
        """Over time."""
        return self._total / self.period_s

    def summed(self, at_s: float) -> float:
        """The value times seconds, from the beginning to a moment."""
        rounds, rest_s = divmod(at_s, self.period_s)
        k = bisect_right(self.times_s, rest_s) - 1
        return rounds * self._total + self._sums[k] + self.values[k] * (rest_s - self.times_s[k])

    def reached_s(self, total: float) -> float:
        """The first moment at which `summed` is as much."""
        rounds = math.ceil(total / self._total) - 1
        rest = total - rounds * self._total
        k = max(0, bisect_left(self._sums, rest) - 1)
        # As rounding may have it, the value is 0 there: a little before it is not, or after.
        while k and not self.values[k]:
            k -= 1
        while not self.values[k]:
            k += 1
        return rounds * self.period_s + self.times_s[k] + (rest - self._sums[k]) / self.values[k]

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Series)
            and self.column == other.column
            and self.times_s == other.times_s
            and self.values == other.values
        )

    def __hash__(self) -> int:
        return hash((self.column, len(self.values), self.period_s, self._total))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.values)} rows, {self.period_s:g} s)"


class RttSeries(Series):
    """Round-trip times in ms."""

    column = "rtt_ms"
    most = 3.6e6


class RateSeries(Series):
    """Bandwidth in Mb/s; 0 is none for a while."""

    column = "mbps"
    most = 1e6


def _rows(lines: Iterable[list[str]], column: str) -> Iterable[tuple[float, float]]:
    wanted = ["time_s", column]
    rows = iter(lines)
    if (head := next(rows, [])) != wanted:
        raise ProfileError(f"row 0 must be {','.join(wanted)}; got {','.join(head)[:80]!r}")
    for number, row in enumerate(filter(None, rows), start=1):
        try:
            time_s, value = map(float, row)
        except ValueError:
            shown = ",".join(row)[:80]
            raise ProfileError(f"row {number} must be two numbers; got {shown!r}") from None
        yield time_s, value
