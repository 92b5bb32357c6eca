"""Which of two sets belong together: the pairs with the smallest sum of costs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def assignment(cost: npt.NDArray[np.float64]) -> dict[int, int]:
    """(n, m) costs from 0 to 1 -> row -> column of the pairs with the smallest sum.

    A pair at cost 1 is as good as leaving both alone, and is not in the result. The Hungarian
    algorithm with potentials (Kuhn 1955; the form is that of Jonker and Volgenant 1987).
    """
    if cost.shape[0] > cost.shape[1]:
        return {row: column for column, row in assignment(cost.T).items()}
    rows, columns = cost.shape
    row_of = np.full(columns + 1, -1)  # the last column is where each search starts
    potential_row, potential = np.zeros(rows), np.zeros(columns + 1)
    for row in range(rows):
        row_of[columns] = row
        column = columns
        least = np.full(columns, np.inf)
        origin = np.full(columns, columns)
        done = np.zeros(columns + 1, bool)
        while row_of[column] >= 0:
            done[column] = True
            current = row_of[column]
            reduced = cost[current] - potential_row[current] - potential[:columns]
            better = ~done[:columns] & (reduced < least)
            least[better] = reduced[better]
            origin[better] = column
            open_columns = np.where(done[:columns], np.inf, least)
            following = int(open_columns.argmin())
            step = open_columns[following]
            potential_row[row_of[done]] += step
            potential[done] -= step
            least[~done[:columns]] -= step
            column = following
        while column != columns:
            previous = int(origin[column])
            row_of[column] = row_of[previous]
            column = previous
    pairs = ((int(row), column) for column, row in enumerate(row_of[:columns]) if row >= 0)
    return {row: column for row, column in pairs if cost[row, column] < 1}
