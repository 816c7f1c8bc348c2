"""Delaunay triangulations: Euler's count, empty circles, the order of the triangles."""

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy.spatial import Delaunay
from torch import Tensor

from graphseq.sequence.solvers import convex_hull, delaunay, delaunays
from graphseq.sequence.solvers.delaunay import by_incenter


def uniform(num: int, size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((num, size, 2))


def area(points: np.ndarray) -> np.ndarray:
    """Twice the signed area of triangles ``[k, 3, 2]``."""
    a, b = points[:, 1] - points[:, 0], points[:, 2] - points[:, 0]
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]


def polygon_area(corners: np.ndarray) -> float:
    """Twice the area."""
    after = np.roll(corners, -1, axis=0)
    return float((corners[:, 0] * after[:, 1] - corners[:, 1] * after[:, 0]).sum())


@pytest.mark.parametrize("size", [3, 4, 5, 10, 50, 200])
def test_equals_qhull_and_euler(size: int) -> None:
    for points in uniform(5, size):
        found = delaunay(points)
        assert found.dtype == torch.int64
        expected = {tuple(sorted(row)) for row in Delaunay(points).simplices.tolist()}
        assert set(map(tuple, found.tolist())) == expected
        assert len(found) == len(expected) == 2 * size - 2 - len(convex_hull(points))


def test_no_point_lies_inside_a_circle() -> None:
    for points in uniform(5, 12, seed=1):
        for triangle in delaunay(points).tolist():
            corners = points[triangle]
            if area(corners[None])[0] < 0:
                corners = corners[::-1]
            for other in set(range(12)) - set(triangle):
                rows = corners - points[other]
                rows = np.hstack([rows, (rows**2).sum(axis=1, keepdims=True)])
                assert np.linalg.det(rows) <= 0


def test_triangles_are_sorted_by_their_incenters() -> None:
    for points in uniform(5, 40, seed=2):
        found = delaunay(points).numpy()
        assert (np.diff(found, axis=1) > 0).all()
        centers = []
        for a, b, c in points[found]:
            sides = np.linalg.norm(b - c), np.linalg.norm(c - a), np.linalg.norm(a - b)
            centers.append(tuple((sides[0] * a + sides[1] * b + sides[2] * c) / sum(sides)))
        assert centers == sorted(centers)


def test_equal_incenters_go_by_x_then_y_then_index() -> None:
    # two right triangles with the same x of the incenter, and one twice
    points = np.array([[0, 0], [3, 0], [0, 4], [0, 10], [3, 10], [0, 14], [0, 0], [3, 0], [0, 4]])
    triangles = np.array([[6, 7, 8], [3, 4, 5], [0, 1, 2]])
    assert by_incenter(points.astype(float), triangles).tolist() == [
        [0, 1, 2],
        [6, 7, 8],
        [3, 4, 5],
    ]


def test_the_triangles_do_not_depend_on_the_order_of_the_points() -> None:
    points = uniform(1, 30, seed=3)[0]
    shuffle = np.random.default_rng(0).permutation(30)
    back = np.sort(shuffle[delaunay(points[shuffle]).numpy()], axis=1)
    assert back.tolist() == delaunay(points).tolist()


@pytest.mark.parametrize(
    "points",
    [
        np.zeros((0, 2)),
        np.zeros((2, 2)),
        np.zeros((7, 2)),
        np.array([[0, 0], [1, 1], [0, 0], [1, 1.0]]),
        np.array([[0, 0], [1, 1], [2, 2], [3, 3.0]]),
        np.array([[0.1, 0.1], [0.2, 0.2], [0.3, 0.3], [0.7, 0.7]]),
    ],
    ids=["none", "two alike", "seven alike", "two twice", "on a line", "on a rounded line"],
)
def test_no_triangle(points: np.ndarray) -> None:
    found = delaunay(points)
    assert found.shape == (0, 3)
    assert found.dtype == torch.int64


def test_repeated_points_leave_it_as_it_is() -> None:
    points = uniform(1, 10, seed=4)[0]
    twice = np.concatenate([points, points[::-1]])
    assert delaunay(twice).tolist() == delaunay(points).tolist()


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_lattices_are_covered_exactly(offset: float) -> None:
    generator = np.random.default_rng(5)
    for _ in range(40):
        points = generator.integers(0, 4, (14, 2)) + offset
        found = delaunay(points)
        hull = convex_hull(points)
        sizes = np.abs(area(points[found.numpy()] - offset))
        assert (sizes > 0).all()
        assert sizes.sum() == (polygon_area(points[hull.numpy()] - offset) if len(hull) > 2 else 0)


def test_many_at_once() -> None:
    points = torch.from_numpy(uniform(12, 9))
    for row, found in zip(points, delaunays(points), strict=True):
        assert found.tolist() == delaunay(row).tolist()
    lengths = torch.arange(12) % 10
    for row, length, found in zip(points, lengths, delaunays(points, lengths), strict=True):
        assert found.tolist() == delaunay(row[:length]).tolist()


def test_too_close_to_a_line() -> None:
    points = np.array([[0, 0], [1, 1], [2, 2 + 4e-16], [3, 3]])
    assert Fraction(2 + 4e-16) != 2
    with pytest.raises(ValueError, match="delaunay: the points lie so close to a line"):
        delaunay(points)


def test_too_close_to_one_another() -> None:
    points = np.stack(np.meshgrid(np.arange(6.0), np.arange(5.0) * 1e-9), -1).reshape(-1, 2)
    with pytest.raises(ValueError, match=r"delaunay: points .* too close to others"):
        delaunay(points)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda p: delaunay(p[:, :1]), ValueError, r"delaunay: points have shape \(4, 1\)"),
        (lambda p: delaunays(p), ValueError, r"delaunays: .*expected \[B, n, 2\].*points\[None\]"),
        (lambda p: delaunay(p * float("nan")), ValueError, "delaunay: points hold NaN"),
        (lambda p: delaunay(p.tolist()), TypeError, "delaunay: points is a list"),
        (lambda p: delaunays(p[None], lengths=p[0, :1]), TypeError, "delaunays: lengths"),
        (lambda p: delaunays(p[None], torch.tensor([5])), ValueError, "0 .. 4, .* got 5 .. 5"),
    ],
)
def test_refuses(call: Callable[[Tensor], object], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call(torch.from_numpy(uniform(1, 4)[0]))
