"""PointSets refuses what is no answer; generators draw, label and keep; buckets waste nothing."""

import dataclasses
from itertools import permutations

import numpy as np
import pytest
import torch
from scipy.spatial import ConvexHull

from graphseq.files import cache_root
from graphseq.sequence.data import PointSets, hulls, labels, tours, triangulations
from graphseq.sequence.data import points as points_module

CORNERS = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.1, 0.9]])
LOOPS = torch.tensor([[1, 2, 3, 4, 1, 0], [1, 2, 3, 1, 0, -100], [3, 1, 2, 3, 0, -100]])
TRIANGLES = torch.tensor(
    [[1, 2, 4, 2, 3, 4, 0], [1, 2, 3, 0, *[-100] * 3], [1, 2, 3, 0, *[-100] * 3]]
)
LENGTHS = torch.tensor([4, 3, 3])


def make(**changes):
    parts = {
        "points": CORNERS.expand(3, 4, 2).clone(),
        "targets": LOOPS,
        "train": torch.tensor([0]),
        "val": torch.tensor([1]),
        "test": torch.tensor([2]),
        "kind": "tour",
        "lengths": LENGTHS,
        "name": "square",
    }
    return PointSets(**{**parts, **changes})


@pytest.mark.parametrize("kind", ["tour", "hull", "delaunay"])
def test_kinds(kind):
    data = make(kind=kind, targets=TRIANGLES if kind == "delaunay" else LOOPS)
    assert data.dims == {"in_channels": 2, "max_points": 4}
    assert data.target_lengths.tolist() == ([7, 4, 4] if kind == "delaunay" else [6, 5, 5])
    assert data.summary()["kind"] == kind
    assert data.summary()["min_points"] == 3
    assert data.to("cpu") is data


def changed(targets, row, column, value):
    targets = targets.clone()
    targets[row, column] = value
    return targets


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "circle"}, "kind is 'circle'; pass one of hull, delaunay, tour"),
        ({"points": torch.rand(3, 4, 3)}, r"points must be \[N, n, 2\] with 3 points or more"),
        ({"points": torch.full((3, 4, 2), torch.inf)}, "points holds NaN or infinity"),
        ({"targets": LOOPS[:2]}, "targets has 2 rows, points has 3"),
        ({"lengths": torch.tensor([4, 3, 2])}, "instance 2 has 2 points"),
        ({"lengths": torch.tensor([4, 3, 5])}, "lengths must lie in 1 .. 4"),
        ({"targets": changed(LOOPS, 1, 1, 4)}, "target 1 of kind 'tour' must point at 1 .. n"),
        ({"targets": changed(LOOPS, 0, 5, -100)}, "target 0 of kind 'tour' must point at"),
        ({"targets": changed(LOOPS, 1, 5, 1)}, "target 1 of kind 'tour' must point at"),
        ({"targets": changed(LOOPS, 0, 4, 2)}, "target 0 of kind 'tour' must be a loop"),
        ({"targets": changed(LOOPS, 0, 2, 2)}, "target 0 of kind 'tour' must not come to a point"),
        ({"lengths": None}, "target 1 of kind 'tour' must visit every point"),
        ({"kind": "delaunay"}, "target 0 of kind 'delaunay' must have three pointers"),
        (
            {"kind": "delaunay", "targets": changed(TRIANGLES, 2, 0, 3)},
            "target 2 of kind 'delaunay' must write each triangle with increasing",
        ),
        ({"val": torch.tensor([0])}, "val repeats a sequence or shares one"),
    ],
)
def test_refuses(changes, message):
    with pytest.raises(ValueError, match=f"^square: {message}"):
        make(**changes)


def test_refuses_types():
    with pytest.raises(TypeError, match="points must be float32"):
        make(points=CORNERS.double().expand(3, 4, 2))
    with pytest.raises(TypeError, match="targets must be int64"):
        make(targets=LOOPS.int())


def test_hull_may_leave_points_out():
    assert make(kind="hull", lengths=None).num_points.tolist() == [4, 4, 4]


def test_fingerprint_sees_everything():
    prints = {
        make().fingerprint,
        make(kind="hull").fingerprint,
        make(kind="hull", lengths=None).fingerprint,
        make(points=torch.rand(3, 4, 2)).fingerprint,
        make(test=torch.tensor([2]), train=torch.tensor([1]), val=torch.tensor([0])).fingerprint,
    }
    assert len(prints) == 5
    assert make(name="other").fingerprint == make().fingerprint


def test_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        make().kind = "hull"


def test_take_cuts_the_padding():
    batch = make().take(torch.tensor([2, 1]))
    assert batch.points.shape == (2, 3, 2)
    assert batch.targets.tolist() == [[3, 1, 2, 3, 0], [1, 2, 3, 1, 0]]
    assert batch.lengths.tolist() == [3, 3]


SMALL = {"num_train": 12, "num_val": 4, "num_test": 4}


def counter_clockwise(corners):
    after, beyond = corners.roll(-1, 0), corners.roll(-2, 0)
    first, second = after - corners, beyond - after
    return bool((first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0] > 0).all())


def test_hulls(generators_untouched):
    data = hulls(num_nodes=(5, 9), **SMALL, seed=3)
    assert {5, 9} <= set(
        hulls(num_nodes=(5, 9), num_train=60, num_val=1, num_test=1).num_points.tolist()
    )
    for points, target, size in zip(
        data.points.double(), data.targets, data.num_points, strict=True
    ):
        loop = target[target > 0] - 1
        assert loop[0] == loop.min() == loop[-1]
        corners = points[loop[:-1]]
        assert counter_clockwise(corners)
        # no point lies outside of an edge
        step = corners.roll(-1, 0) - corners
        away = points[:size, None] - corners
        assert (step[:, 0] * away[..., 1] - step[:, 1] * away[..., 0] >= 0).all()
        assert (points[size:] == 0).all()


def circle_is_empty(points, triangle):
    a, b, c = points[triangle]
    center = torch.linalg.solve(
        2 * torch.stack([b - a, c - a]), torch.stack([b @ b - a @ a, c @ c - a @ a])
    )
    return bool(((points - center).norm(dim=1) >= (a - center).norm() - 1e-9).all())


def test_triangulations():
    data = triangulations(num_nodes=7, **SMALL)
    for points, target in zip(data.points.double(), data.targets, strict=True):
        triangles = (target[target > 0] - 1).view(-1, 3)
        assert all(circle_is_empty(points, triangle) for triangle in triangles)
        corners = points[triangles]
        first, second = (corners[:, 1:] - corners[:, :1]).unbind(1)
        areas = (first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]).abs() / 2
        hull = ConvexHull(points.numpy())
        assert areas.sum().item() == pytest.approx(hull.volume)  # they fill it
        assert len(triangles) == 2 * 7 - 2 - len(hull.vertices)
        # sorted by the incenter
        sides = (corners.roll(-1, 1) - corners.roll(1, 1)).norm(dim=2)
        center = (sides[..., None] * corners).sum(1) / sides.sum(1, keepdim=True)
        assert center[:, 0].tolist() == sorted(center[:, 0].tolist())


@pytest.mark.parametrize("solver", ["held_karp", "exact", "best", "a1", "a2", "a3"])
def test_tours(solver):
    made = tours(num_nodes=(4, 6), **SMALL, solver=solver, canonical_direction=True)
    turned = tours(num_nodes=(4, 6), **SMALL, solver=solver)
    assert (made.targets[:, 0] == 1).all()
    same = 0
    for points, target, other, size in zip(
        made.points.double(), made.targets, turned.targets, made.num_points, strict=True
    ):
        order = target[: size + 1].tolist()
        assert order[1] < order[-2]
        assert other[: size + 1].tolist() in (order, order[::-1])
        same += other.equal(target)

        def length(loop, points=points):
            return (points[loop] - points[torch.tensor(loop).roll(1)]).norm(dim=1).sum().item()

        shortest = min(length([0, *rest]) for rest in permutations(range(1, size)))
        found = length([city - 1 for city in order[:-1]])
        assert found >= shortest - 1e-12
        if solver in ("held_karp", "exact", "best"):
            assert found == pytest.approx(shortest)
    assert 0 < same < len(made.points)


def test_draws_are_functions_of_the_seed():
    prints = {hulls(num_nodes=5, **SMALL, seed=seed).fingerprint for seed in (0, 0, 1)}
    assert len(prints) == 2
    few, many = (hulls(num_nodes=5, **{**SMALL, "num_train": num}) for num in (3, 12))
    assert few.points[few.test].equal(many.points[many.test])


def test_labels_are_kept(monkeypatch):
    made = hulls(num_nodes=6, **SMALL, seed=11)
    monkeypatch.setattr(points_module, "label", None)
    assert hulls(num_nodes=6, **SMALL, seed=11).fingerprint == made.fingerprint
    assert list((cache_root() / "processed").glob("hull-hull-v1-uniform-n6-6-seed11-*.npz"))


@pytest.mark.nightly  # two interpreters that import torch
def test_processes_label_alike(monkeypatch):
    monkeypatch.setattr(labels, "_CHUNK", 30)
    generator = np.random.default_rng(0)
    points, lengths = generator.random((9, 7, 2)), np.array([5, 7, 7, 6, 5, 5, 7, 7, 6])
    alone, shared = (labels.label("hull", points, lengths, num) for num in (1, 2))
    assert (alone == shared).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: hulls(num_nodes=2), "hulls: num_nodes is 2; pass 3 or more"),
        (lambda: hulls(num_nodes=(6, 5)), "hulls: num_nodes is 5; pass 6 or more"),
        (lambda: triangulations(num_val=0), "triangulations: num_val is 0; pass 1 or more"),
        (lambda: tours(num_workers=0), "tours: num_workers is 0; pass 1 or more"),
        (lambda: tours(solver="luck"), "tours: solver is 'luck'; pass one of held_karp"),
        (lambda: tours(num_nodes=21), "tours: num_nodes goes up to 21, but solver 'held_karp'"),
    ],
)
def test_generators_refuse(make, message):
    with pytest.raises(ValueError, match=message):
        make()


class TestBuckets:
    @pytest.fixture(autouse=True)
    def _data(self):
        self.data = hulls(num_nodes=(5, 9), num_train=80, num_val=1, num_test=1)

    def batches(self, seed):
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        return self.data.buckets(self.data.train, 8, generator)

    @pytest.mark.parametrize("seed", [None, 0])
    def test_every_row_once_and_nothing_to_pad(self, seed):
        batches = self.batches(seed)
        assert torch.cat(batches).sort().values.equal(self.data.train)
        for rows in batches:
            batch = self.data.take(rows)
            assert len(rows) <= 8
            assert (batch.lengths == batch.points.shape[1]).all()
            written = self.data.target_lengths[rows]
            assert (written.diff() >= 0).all()
            assert batch.targets.shape[1] == written[-1]

    def test_function_of_the_generator(self):
        def lists(seed):
            return [rows.tolist() for rows in self.batches(seed)]

        assert lists(1) == lists(1) != lists(2)
        assert lists(None) == lists(None)

    def test_equal_lengths(self):
        data = tours(num_nodes=4, **SMALL)
        sizes = [len(rows) for rows in data.buckets(data.train, 5, torch.Generator())]
        assert sorted(sizes) == [2, 5, 5]

    def test_refuses(self):
        with pytest.raises(ValueError, match=r"buckets: batch_size is 0; pass 1 or more"):
            self.data.buckets(self.data.train, 0)
