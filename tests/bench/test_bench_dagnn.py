"""The two DAGNNs that ours is measured against compute what ours computes."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from graphseq.bench import dagnn
from graphseq.bench.dagnn_reference import PaperDAGNN, StrongDAGNN
from graphseq.bench.graphs import Graph, random_graph
from graphseq.bench.timing import max_error
from graphseq.graph.adjacency import Adjacency
from graphseq.graph.csr import CSR
from graphseq.graph.models import DAGNN


@pytest.fixture
def ours(request: pytest.FixtureRequest) -> DAGNN:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = DAGNN(6, 3, hidden_channels=8, num_hops=4, **request.param)
        for tensor in model.norm.state_dict().values():  # another state than at the start
            if tensor.is_floating_point():
                tensor.uniform_(0.5, 2.0)
    return model


def random_input() -> tuple[Tensor, Tensor]:
    """A graph with an isolated node and a self loop, and features that are mostly zeros."""
    generator = torch.Generator().manual_seed(0)
    pairs = torch.randint(11, (2, 20), generator=generator)
    edge_index = torch.cat([pairs, pairs.flip(0), torch.tensor([[3], [3]])], 1).unique(dim=1)
    x = torch.randn(12, 6, generator=generator)
    return x * (torch.rand(12, 6, generator=generator) < 0.4), edge_index


def loss_gradients(model: torch.nn.Module, logits: Tensor) -> dict[str, Tensor]:
    """By the references' names, in their shapes."""
    y = torch.arange(12) % 3
    names, parameters = zip(*model.named_parameters(), strict=True)
    loss = F.cross_entropy(logits, y)
    grads = dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))
    if isinstance(model, DAGNN):
        grads = {name.replace("propagation", "score"): grad for name, grad in grads.items()}
        grads["input.weight"] = grads["input.weight"].T
        grads["score.weight"] = grads["score.weight"][None]
    return grads


@pytest.mark.parametrize(
    ("ours", "training"),
    [
        ({"dropout": 0.5}, False),
        ({"dropout": 0.5, "batch_norm": True}, False),
        ({"dropout": 0.0, "batch_norm": True}, True),
    ],
    indirect=["ours"],
)
@pytest.mark.parametrize("kind", ["paper", "strong", "strong on dense features"])
def test_references_agree_with_ours(ours: DAGNN, training: bool, kind: str) -> None:
    x, edge_index = random_input()
    adjacency = Adjacency.from_edge_index(edge_index, num_nodes=12)
    if kind == "paper":
        model: torch.nn.Module = PaperDAGNN(ours)
        inputs = (x, edge_index)
    else:
        model = StrongDAGNN(ours)
        matrix = adjacency.normalized("sym").to_torch()
        inputs = (x if "dense" in kind else CSR.from_dense(x).to_torch(), matrix)
    expected = ours.train(training)(CSR.from_dense(x), adjacency)
    logits = model.train(training)(*inputs)
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)
    assert logits.std() > 0.01
    grads, expected_grads = loss_gradients(model, logits), loss_gradients(ours, expected)
    assert grads.keys() == expected_grads.keys()
    for name, grad in grads.items():
        torch.testing.assert_close(grad, expected_grads[name], rtol=1e-4, atol=1e-6)


def small(name: str) -> Graph:
    return random_graph(name, shrink=40 if name == "cora" else 1000)


@pytest.mark.parametrize("case", ["cora", "arxiv"])
def test_runs_start_equal_and_take_the_same_optimiser(case: str) -> None:
    with torch.random.fork_rng():
        runs = {kind: dagnn._Run(kind, case, small(case)) for kind in ("ours", "paper", "strong")}
        for kind in ("paper", "strong"):
            assert max_error(runs["ours"].answer(), runs[kind].answer()) < dagnn.TOLERANCE
            assert runs[kind].optimizer.defaults == runs["ours"].optimizer.defaults
        assert runs["ours"].optimizer.defaults["fused"]
        before = {kind: run.answer()[0].clone() for kind, run in runs.items()}
        for kind, run in runs.items():
            run.epoch()
            assert not torch.equal(run.answer()[0], before[kind])


@pytest.mark.parametrize("broken", ["ours", "paper", "strong"])
def test_nan_in_any_model_is_no_speed(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = dagnn._Run.answer

    def with_nan(self: dagnn._Run) -> list[Tensor]:
        values = answer(self)
        kind = type(self.model)
        if kind is {"ours": DAGNN, "paper": PaperDAGNN, "strong": StrongDAGNN}[broken]:
            values[-1] = values[-1] * float("nan")
        return values

    monkeypatch.setattr(dagnn._Run, "answer", with_nan)
    monkeypatch.setattr(dagnn, "load", small)
    with torch.random.fork_rng(), pytest.raises(ValueError, match="error inf exceeds"):
        dagnn.rows("cora")
