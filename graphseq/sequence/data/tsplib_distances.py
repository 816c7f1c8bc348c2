"""The distances of TSPLIB: functions of coordinates with its roundings, and written matrices.

Source: G. Reinelt, "TSPLIB 95", Universitaet Heidelberg 1995. All distances are whole numbers where
they are computed from coordinates; nint(x) is floor(x + 0.5).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_PI = 3.141592  # as TSPLIB has it: published optima rest on these digits
_EARTH = 6378.388  # radius in km

Distance = Callable[[np.ndarray, np.ndarray], np.ndarray]


def from_coordinates(coordinates: np.ndarray, kind: str) -> np.ndarray:
    """Distances of all pairs, zero on the diagonal.

    Args:
        coordinates: ``[n, 2]``, float64.
        kind: A name of :data:`FUNCTIONS`.

    Returns:
        ``[n, n]``, float64.
    """
    x, y = coordinates.T
    if kind == "GEO":
        out = _geo(_radians(x), _radians(y))
    else:
        out = FUNCTIONS[kind](np.abs(x[:, None] - x), np.abs(y[:, None] - y))
    np.fill_diagonal(out, 0)
    return out


def _nint(values: np.ndarray) -> np.ndarray:
    out: np.ndarray = np.floor(values + 0.5)
    return out


def _euclidean(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return _nint(np.sqrt(x * x + y * y))


def _rounded_up(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    out: np.ndarray = np.ceil(np.sqrt(x * x + y * y))
    return out


def _pseudo_euclidean(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    exact = np.sqrt((x * x + y * y) / 10)
    rounded = _nint(exact)
    return rounded + (rounded < exact)


def _manhattan(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return _nint(x + y)


def _maximum(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.maximum(_nint(x), _nint(y))


def _radians(degrees: np.ndarray) -> np.ndarray:
    """Radians of coordinates that are written as degrees.minutes."""
    # The published optima follow from cutting the minutes off, not from rounding to degrees.
    whole = np.trunc(degrees)
    out: np.ndarray = _PI * (whole + 5 * (degrees - whole) / 3) / 180
    return out


def _geo(latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    """Distances on the sphere in km, cut off after adding 1."""
    turned = np.cos(longitude[:, None] - longitude)
    minus = np.cos(latitude[:, None] - latitude)
    plus = np.cos(latitude[:, None] + latitude)
    cosine = ((1 + turned) * minus - (1 - turned) * plus) / 2
    out: np.ndarray = np.trunc(_EARTH * np.arccos(np.clip(cosine, -1, 1)) + 1)
    return out


FUNCTIONS: dict[str, Distance] = {
    "EUC_2D": _euclidean,
    "CEIL_2D": _rounded_up,
    "ATT": _pseudo_euclidean,
    "GEO": _geo,
    "MAN_2D": _manhattan,
    "MAX_2D": _maximum,
}
"""Distances of coordinates by their EDGE_WEIGHT_TYPE."""

# Which half is written, with the diagonal or not. Columns of one half are rows of the other.
_HALVES = {
    "UPPER_ROW": (np.triu_indices, 1),
    "LOWER_ROW": (np.tril_indices, -1),
    "UPPER_DIAG_ROW": (np.triu_indices, 0),
    "LOWER_DIAG_ROW": (np.tril_indices, 0),
    "UPPER_COL": (np.tril_indices, -1),
    "LOWER_COL": (np.triu_indices, 1),
    "UPPER_DIAG_COL": (np.tril_indices, 0),
    "LOWER_DIAG_COL": (np.triu_indices, 0),
}
FORMS = ("FULL_MATRIX", *_HALVES)
"""The ways to write a matrix, EDGE_WEIGHT_FORMAT."""


def num_weights(size: int, form: str) -> int:
    """How many numbers a matrix of a form has."""
    if form == "FULL_MATRIX":
        return size * size
    return size * (size + 1) // 2 if "DIAG" in form else size * (size - 1) // 2


def from_weights(weights: np.ndarray, size: int, form: str) -> np.ndarray:
    """The symmetric matrix that is written in one of the :data:`FORMS`, zero on the diagonal.

    Args:
        weights: As many numbers as :func:`num_weights` says, float64.
        size: Number of cities n.
        form: A name of :data:`FORMS`.

    Returns:
        ``[n, n]``, float64; ``FULL_MATRIX`` as it is written but for the diagonal.
    """
    if form == "FULL_MATRIX":
        out = weights.reshape(size, size).copy()
    else:
        half, shift = _HALVES[form]
        rows, columns = half(size, shift)
        out = np.zeros((size, size))
        out[rows, columns] = weights
        out[columns, rows] = weights
    np.fill_diagonal(out, 0)  # some files write a large number, for no city follows itself
    return out
