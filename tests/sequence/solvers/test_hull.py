"""Convex hulls against Qhull, exact arithmetic and their definition."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import ConvexHull

from graphseq.sequence.solvers import convex_hull, convex_hulls, naive


def uniform(num: int, size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((num, size, 2))


def hulls_of(points: np.ndarray) -> list[list[int]]:
    corners, sizes = convex_hulls(points)
    return [row[:size].tolist() for row, size in zip(corners, sizes, strict=True)]


@pytest.mark.parametrize("size", [3, 4, 5, 10, 50, 500])
def test_equals_qhull(size: int) -> None:
    points = uniform(20, size)
    for row, found in zip(points, hulls_of(points), strict=True):
        corners = ConvexHull(row).vertices  # counter-clockwise in the plane
        assert found == np.roll(corners, -corners.argmin()).tolist()
        assert found == convex_hull(row).tolist()


def test_definition() -> None:
    points = uniform(50, 30, seed=1)
    for row, found in zip(points, hulls_of(points), strict=True):
        assert found[0] == min(found)
        a, b = row[found], row[np.roll(found, -1)]
        side = b - a
        # every point lies left of every side, or on it
        cross = side[:, None, 0] * (row[None, :, 1] - a[:, None, 1]) - side[:, None, 1] * (
            row[None, :, 0] - a[:, None, 0]
        )
        assert (cross >= -1e-12).all()
        turn = side[:, 0] * np.roll(side, -1, 0)[:, 1] - side[:, 1] * np.roll(side, -1, 0)[:, 0]
        assert (turn > 0).all()


@given(points=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=14))
def test_lattices(points: list[tuple[int, int]]) -> None:
    """Collinear and repeated points, in exact arithmetic; also where float64 rounds."""
    assert convex_hull(np.array(points)).tolist() == naive.convex_hull(points)
    rounded = np.array(points) * 0.1 + 0.7
    assert convex_hull(rounded).tolist() == naive.convex_hull(rounded.tolist())


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([[3, 4]], [0]),
        ([[3, 4], [3, 4]], [0]),
        ([[1, 1], [0, 0]], [0, 1]),
        ([[1, 1], [0, 0], [2, 2]], [1, 2]),
        ([[2, 2], [1, 1], [0, 0], [2, 2], [0, 0]], [0, 2]),
        ([[0, 1], [0, 3], [0, 2]], [0, 1]),
        ([[1, 0], [0, 0], [0, 1], [1, 1], [0.5, 0.5], [0.5, 0]], [0, 3, 2, 1]),
        ([[0, 0], [0, 0], [1, 0], [1, 0], [0, 1]], [0, 2, 4]),
        ([[0.1, 0.1], [0.2, 0.2], [0.3, 0.3], [0.7, 0.7]], [0, 3]),
    ],
)
def test_flat_and_repeated(points: list[list[float]], expected: list[int]) -> None:
    values = torch.tensor(points, dtype=torch.float64)
    assert convex_hull(values).tolist() == expected
    corners, sizes = convex_hulls(values[None])
    assert corners.tolist() == [expected]
    assert sizes.tolist() == [len(expected)]


@pytest.mark.parametrize("scale", [1e-140, 1e-160, 1e140])
def test_scales(scale: float) -> None:
    points = uniform(1, 12, seed=2)[0]
    assert convex_hull(points * scale).tolist() == convex_hull(points).tolist()


def test_shuffled_points_are_the_same_corners() -> None:
    points = uniform(30, 20, seed=3)
    shuffle = np.random.default_rng(0).permutation(20)
    for one, other in zip(hulls_of(points), hulls_of(points[:, shuffle]), strict=True):
        back = shuffle[other]
        assert one == np.roll(back, -back.argmin()).tolist()


def test_lengths_and_padding() -> None:
    points = torch.from_numpy(uniform(40, 12, seed=4))
    lengths = torch.arange(40) % 12 + 1
    corners, sizes = convex_hulls(points, lengths)
    assert corners.dtype == sizes.dtype == torch.int64
    assert corners.shape[1] == sizes.max()
    for b in range(40):
        assert corners[b, : sizes[b]].tolist() == convex_hull(points[b, : lengths[b]]).tolist()
        assert (corners[b, sizes[b] :] == -1).all()


def test_blocks_and_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    points = uniform(1500, 10)
    corners, sizes = convex_hulls(points)
    monkeypatch.setattr("graphseq.sequence.solvers.hull._BLOCK", 70)
    few, their_sizes = convex_hulls(points[:100])
    assert sizes[:100].tolist() == their_sizes.tolist()
    assert corners[:100, : few.shape[1]].tolist() == few.tolist()


def test_float32_is_taken_as_it_is() -> None:
    points = torch.from_numpy(uniform(5, 20)).float()
    assert hulls_of(points.numpy()) == hulls_of(points.double().numpy())


def test_no_instances() -> None:
    corners, sizes = convex_hulls(torch.zeros(0, 5, 2))
    assert corners.shape == (0, 0)
    assert sizes.shape == (0,)


@pytest.mark.parametrize(
    ("lengths", "error", "words"),
    [
        (torch.tensor([1, 5]), ValueError, r"lengths must lie in 1 .. 4, .* got 1 .. 5"),
        (torch.tensor([0, 4]), ValueError, "got 0 .. 4"),
        (torch.tensor([3]), ValueError, r"shape \(1,\), expected \[2\]"),
        (torch.tensor([3.0, 3.0]), TypeError, "lengths.long()"),
        ([3, 3], TypeError, "got list"),
    ],
)
def test_refuses_lengths(lengths: object, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=f"convex_hulls: .*{words}"):
        convex_hulls(uniform(2, 4), lengths)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("points", "error", "words"),
    [
        (torch.zeros(0, 2), ValueError, "no points"),
        (torch.zeros(3, 3), ValueError, r"shape \(3, 3\), expected \[n, 2\]"),
        (torch.zeros(1, 3, 2), ValueError, r"expected \[n, 2\]"),
        (torch.tensor([[0.0, float("nan")]]), ValueError, "NaN"),
        (torch.tensor([[0.0, float("inf")]]), ValueError, "infinity"),
        ([[0.0, 1.0]], TypeError, "torch.tensor"),
        (torch.zeros(3, 2, dtype=torch.complex64), TypeError, "complex64"),
    ],
)
def test_refuses_points(points: object, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=f"convex_hull: .*{words}"):
        convex_hull(points)  # type: ignore[arg-type]
