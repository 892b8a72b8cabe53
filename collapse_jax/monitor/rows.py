"""Rows as a monitor keeps them: what statistics need of each, under names, and nothing else."""

from collections.abc import Iterator

import numpy as np


class Rows:
    """Arrays whose first axis runs over the rows; ragged ones are arrays of objects.

    >>> Rows(length=np.array([3, 5, 4])).take([0, 2])["length"].tolist()
    [3, 4]
    """

    def __init__(self, **columns: np.ndarray) -> None:
        self._columns = columns

    def __getitem__(self, name: str) -> np.ndarray:
        return self._columns[name]

    def __contains__(self, name: str) -> bool:
        return name in self._columns

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(next(iter(self._columns.values())))

    def take(self, places: np.ndarray | list[int]) -> "Rows":
        """Return the rows at these places."""
        return Rows(**{name: column[places] for name, column in self._columns.items()})

    def joined(self, others: "Rows") -> "Rows":
        """Return these rows and the others behind them."""
        return Rows(
            **{name: np.concatenate([column, others[name]]) for name, column in self._columns.items()}
        )
