"""Scores of hulls: against a slow reading, brute-force crossings and SciPy's hull."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import ConvexHull

from graphseq.sequence.metrics import (
    hull_accuracy,
    hull_area,
    polygon_areas,
    same_polygons,
    simple_polygons,
)

SQUARE = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.5, 0.5], [0.5, 0.0]])


def rows(*lists, width=8):
    return torch.tensor([row + [-100] * (width - len(row)) for row in lists])


def vertices(row):
    """The loop that a row denotes, read pointer by pointer."""
    loop = []
    for pointer in row:
        if pointer <= 0:
            break
        loop.append(pointer)
    if len(loop) > 1 and loop[0] == loop[-1]:
        loop.pop()
    return loop


def cycles(loop):
    both = (loop, loop[::-1])
    return {tuple(way[i:] + way[:i]) for way in both for i in range(max(1, len(loop)))}


@given(st.lists(st.lists(st.integers(0, 5), min_size=6, max_size=6), min_size=1, max_size=8))
def test_same_polygons(lists):
    target = torch.tensor([[2, 4, 1, 3, 2, 0]] * len(lists))
    wanted = [tuple(vertices(row)) in cycles([2, 4, 1, 3]) for row in lists]
    assert same_polygons(torch.tensor(lists), target).tolist() == wanted


def test_start_direction_and_closing_do_not_matter():
    target = rows(*[[1, 2, 3, 4, 1, 0]] * 8)
    predicted = rows(
        [1, 2, 3, 4, 1, 0],
        [3, 4, 1, 2, 3, 0],
        [2, 1, 4, 3, 2, 0],
        [4, 1, 2, 3, 0],
        [1, 3, 2, 4, 1, 0],
        [1, 2, 3, 1, 0],
        [1, 2, 3, 4, 5, 1, 0],
        [0],
    )
    assert same_polygons(predicted, target).tolist() == [True] * 4 + [False] * 4
    assert hull_accuracy(predicted, target) == 0.5
    assert hull_accuracy(predicted[:, :3], target) == 0


def turn(a, b, c):
    value = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    return (value > 0) - (value < 0)


def on_segment(a, b, p):
    inside = all(min(a[k], b[k]) <= p[k] <= max(a[k], b[k]) for k in (0, 1))
    return turn(a, b, p) == 0 and inside


def is_simple(points, loop):
    """Whether no two edges share more than the corner between neighbours, in fractions."""
    corners = [tuple(map(Fraction, points[v - 1])) for v in loop]
    if len(loop) < 3 or len(set(loop)) < len(loop):
        return False
    edges = list(zip(corners, corners[1:] + corners[:1], strict=True))
    for i, (a, b) in enumerate(edges):
        for j in range(i + 1, len(edges)):
            c, d = edges[j]
            if (j == i + 1 and b == c) or (j == len(edges) - 1 and i == 0 and a == d):
                corner, first, second = (b, a, d) if j == i + 1 else (a, b, c)
                ends = on_segment(corner, first, second) or on_segment(corner, second, first)
                if ends:
                    return False
                continue
            touch = any(
                (on_segment(a, b, c), on_segment(a, b, d), on_segment(c, d, a), on_segment(c, d, b))
            )
            cross = turn(a, b, c) * turn(a, b, d) < 0 and turn(c, d, a) * turn(c, d, b) < 0
            if touch or cross:
                return False
    return True


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=6, max_size=6, unique=True),
    st.lists(st.integers(1, 6), min_size=2, max_size=6, unique=True),
)
def test_simple_polygons_on_a_lattice(points, loop):
    """On few points many lie on lines, and corners touch edges."""
    predicted = rows([*loop, loop[0], 0])
    found = simple_polygons(torch.tensor([points]).float(), predicted)
    assert found.tolist() == [is_simple(points, loop)]


def test_simple_polygons():
    predicted = rows(
        [1, 2, 3, 4, 1, 0],
        [1, 5, 3, 4, 0],
        [1, 3, 2, 4, 1, 0],  # edges cross
        [1, 2, 5, 2, 3, 1, 0],  # a corner twice
        [1, 6, 2, 1, 0],  # on a line
        [1, 2, 0],
        [0],
        [1, 2, 7, 1, 0],  # no such point
        [1, 6, 2, 3, 1, 0],  # a corner on the line between its neighbours is allowed
    )
    points = SQUARE.expand(len(predicted), -1, -1)
    wanted = [True, True, *[False] * 6, True]
    assert simple_polygons(points, predicted).tolist() == wanted
    short = torch.full((len(predicted),), 4)
    assert simple_polygons(points, predicted, short).tolist() == [True, *[False] * 8]


def test_many_rows_agree_with_few(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(50, 7, 2, generator=generator)
    order = torch.rand(50, 7, generator=generator).argsort(1)[:, :5] + 1
    found = simple_polygons(points, order)
    monkeypatch.setattr("graphseq.sequence.metrics.hull._PIECE", 60)
    assert simple_polygons(points, order).equal(found)
    wanted = [is_simple(p.tolist(), loop.tolist()) for p, loop in zip(points, order, strict=True)]
    assert found.tolist() == wanted
    assert 0 < found.sum() < 50


def test_areas_of_hulls():
    points = torch.rand(20, 9, 2, generator=torch.Generator().manual_seed(1))
    hulls = [ConvexHull(instance.double().numpy()) for instance in points]
    loops = [[*(hull.vertices + 1).tolist(), int(hull.vertices[0]) + 1, 0] for hull in hulls]
    pointers = rows(*loops, width=12)
    wanted = torch.tensor([hull.volume for hull in hulls], dtype=torch.float64)
    torch.testing.assert_close(polygon_areas(points, pointers), wanted)
    assert simple_polygons(points, pointers).all()
    found = hull_area(points, pointers.flip(0).flip(0), pointers)
    assert found == (pytest.approx(1), 1, False)


class TestArea:
    points = SQUARE.expand(100, -1, -1)
    target = rows(*[[1, 2, 3, 4, 1, 0]] * 100)

    def predicted(self, wrong):
        return rows(*[[1, 2, 3, 1, 0]] * (100 - wrong), *[[1, 2, 1, 0]] * wrong)

    def test_mean_of_the_simple_ones(self):
        found = hull_area(self.points, self.predicted(1), self.target)
        assert found == (0.5, 0.99, False)

    def test_fails(self):
        found = hull_area(self.points, self.predicted(2), self.target)
        assert math.isnan(found.coverage)
        assert found[1:] == (0.98, True)
        assert not hull_area(self.points, self.predicted(2), self.target, fail_threshold=0.1).failed
        assert hull_area(self.points, self.predicted(100), self.target, fail_threshold=1.0).failed

    def test_refuses(self):
        with pytest.raises(ValueError, match="hull_area: predicted has 1 rows, target has 100"):
            hull_area(self.points, self.target[:1], self.target)
        with pytest.raises(ValueError, match="hull_area: there are no predictions"):
            hull_area(self.points[:0], self.target[:0], self.target[:0])
        with pytest.raises(TypeError, match="predicted must be an int64 tensor"):
            hull_area(self.points, self.target.int(), self.target)
        with pytest.raises(ValueError, match=r"points must be \[N, n, 2\]"):
            hull_area(SQUARE, self.target, self.target)
