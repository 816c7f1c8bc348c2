"""The benchmark of forward learning: both sides agree, and it refuses where they do not."""

import sys

import pytest
import torch
from torch import Tensor

from graphseq.bench import forward, forward_memory
from graphseq.bench.forward_reference import PlainNodes, PlainSF
from graphseq.bench.forward_reference_top import PlainT2I
from graphseq.bench.memory import peak_megabytes
from graphseq.bench.timing import Row
from graphseq.graph.csr import CSR
from graphseq.graph.data import NodeData


def tiny() -> NodeData:
    return forward.random_graph(80, 200, 30, 400, 3)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "cora_ml", tiny)
    torch.set_num_threads(1)


@pytest.mark.parametrize("case", forward.CASES)
def test_rows(case: str) -> None:
    with torch.random.fork_rng():
        rows = forward.rows(case, seconds=0.0)
    keys = ["op", "case", "ours_ms", "reference", "reference_ms", "ratio", "max_error"]
    assert [list(row) for row in rows] == [keys, keys]
    assert [row["reference"] for row in rows] == ["paper", "strong"]
    depth = 2 if case == "t2i" else 4
    for row in rows:
        assert (row["op"], row["case"]) == (
            case,
            f"Cora_ML shape gcn depth {depth}, 100 cycles a layer",
        )
        assert row["ratio"] == pytest.approx(row["reference_ms"] / row["ours_ms"])
        assert row["max_error"] < forward.TOLERANCE


def test_a_run_is_what_is_made_once_and_a_hundred_cycles(monkeypatch: pytest.MonkeyPatch) -> None:
    """One side prepares for a second and then steps in no time, the other one does the opposite."""
    now = [0.0]
    monkeypatch.setattr(forward.time, "perf_counter", lambda: now[0])
    enter, step = forward._Ours.enter, PlainSF.step

    def entering(self: forward._Ours, number: int) -> None:
        now[0] += 1.0 + number
        enter(self, number)

    def stepping(self: PlainSF, number: int) -> None:
        now[0] += 0.001
        step(self, number)

    def cycles(op: str, case: str, ours: object, references: object, **_: object) -> list[Row]:
        row = {"op": op, "case": case, "ours_ms": 5.0, "reference_ms": 2.0, "max_error": 0.0}
        return [row | {"reference": "paper"}, row | {"reference": "strong"}]

    monkeypatch.setattr(forward._Ours, "enter", entering)
    monkeypatch.setattr(PlainSF, "step", stepping)
    monkeypatch.setattr(forward, "compare", cycles)
    with torch.random.fork_rng():
        for row in forward.rows("sf"):
            assert row["ours_ms"] == pytest.approx(1e3 * (1 + 2 + 3 + 4) + 99 * 4 * 5.0)
            assert row["reference_ms"] == pytest.approx(100 * 4 * 2.0)
            assert row["ratio"] == pytest.approx(row["reference_ms"] / row["ours_ms"])


def test_no_speed_is_reported_for_other_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    validate = PlainT2I.validate
    monkeypatch.setattr(
        PlainT2I, "validate", lambda self, stage: validate(self, stage) + torch.arange(3) / 100
    )
    with torch.random.fork_rng(), pytest.raises(ValueError, match="no speed is reported"):
        forward.rows("t2i", seconds=0.0)


@pytest.mark.parametrize("case", forward.CASES)
def test_no_speed_is_reported_for_other_weights(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = forward.CASES[case][1]
    learn = plain._learn

    def other(self: PlainNodes, number: int, loss: Tensor) -> None:
        if number == len(self.layers) - 1:  # the last layer alone
            loss = -loss
        learn(self, number, loss)

    monkeypatch.setattr(plain, "_learn", other)
    with torch.random.fork_rng(), pytest.raises(ValueError, match=f"bench {case} Cora_ML shape"):
        forward.rows(case, seconds=0.0)


def test_stand_in_has_the_shape_of_cora_ml() -> None:
    data = forward.random_graph(2_995, 8_158, 2_879, 151_000, 7)
    assert isinstance(data.x, CSR)
    assert (data.num_nodes, data.adjacency.num_edges) == (2_995, 16_316)
    assert (len(data.train), len(data.val), data.dims["in_channels"]) == (1_916, 480, 2_879)


@pytest.mark.parametrize("kind", ["sf", *forward_memory.REFERENCES])
def test_memory_is_that_of_a_step_of_every_layer(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stepped: list[int] = []
    step = torch.optim.Adam.step

    def count(self: torch.optim.Adam, *args: object) -> object:
        stepped.append(sum(len(group["params"]) for group in self.param_groups))
        return step(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(torch.optim.Adam, "step", count)
    with torch.random.fork_rng():
        forward_memory._steps(kind, 3, forward_memory._data(200))
    assert stepped == ([2, 2, 2] if kind == "sf" else [6])


def test_memory_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"sf": 10.0, "backprop": 40.0, "backprop recompute": 15.0}
    asked = []

    def peak(setup: object, kind: str, depth: int, shrink: int) -> float:
        assert setup is forward_memory._setup
        asked.append((kind, depth, shrink))
        return sizes[kind] * depth

    monkeypatch.setattr(forward_memory, "peak_megabytes", peak)
    rows = forward.rows("memory")
    depths = (1, 2, 4, 8, 16, 32)
    assert [row["reference"] for row in rows] == 6 * list(forward_memory.REFERENCES)
    assert [row["ratio"] for row in rows] == 6 * [4.0, 1.5]
    assert [row["ours_mb"] for row in rows] == [10.0 * d for d in depths for _ in range(2)]
    assert rows[-1]["case"] == "200,000 nodes gcn depth 32"
    assert asked == [(kind, depth, 1) for depth in depths for kind in sizes]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak")
def test_memory_of_a_small_graph() -> None:
    setup = forward_memory._setup
    peaks = [peak_megabytes(setup, kind, 16, 20) for kind in ("sf", "backprop")]
    assert 5.0 < 2.0 * peaks[0] < peaks[1]  # 10,000 nodes: 5 MiB a state


@pytest.mark.nightly
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak")
def test_memory_does_not_grow_with_depth() -> None:
    setup = forward_memory._setup
    shallow, deep = (peak_megabytes(setup, "sf", depth, 1) for depth in (2, 32))
    assert deep < 1.1 * shallow
    assert 4.0 * deep <= peak_megabytes(setup, "backprop", 32, 1)
