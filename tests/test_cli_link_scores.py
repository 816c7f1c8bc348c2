"""Known links are scored without themselves; all other pairs see the whole graph."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from graphseq import NCN
from graphseq.cli import link_scores
from graphseq.cli.link_scores import score_pairs
from graphseq.graph.adjacency import Adjacency
from graphseq.graph.data import LinkData, links_from_arrays
from graphseq.graph.models import BackpropLinkGNN, ForwardLinkGNN, TopDownLinkGNN
from graphseq.graph.ops import LinkRemoval, is_edge
from graphseq.graph.tasks import ForwardLinkLearning, LinkPrediction

RING = torch.tensor([(i, (i + step) % 40) for i in range(40) for step in (1, 2)]).t()


@pytest.fixture
def task() -> LinkPrediction:
    torch.manual_seed(0)
    data = links_from_arrays(RING, metric="auc")
    return LinkPrediction(NCN(**data.dims, hidden_channels=8), data, batch_size=4).eval()


def test_each_known_link_is_hidden_from_its_own_score_only(task: LinkPrediction) -> None:
    pairs = torch.tensor([[0, 0, 2, 1, 0, 3, 0], [1, 20, 0, 0, 4, 3, 1]])
    found, known = score_pairs(task, pairs, "cpu")
    assert known.tolist() == [True, False, True, True, False, False, True]
    with torch.no_grad():
        for column, pair in enumerate(pairs.t()):
            kept = RING[:, (RING.sort(dim=0).values != pair.sort().values[:, None]).any(dim=0)]
            assert kept.size(1) == RING.size(1) - int(known[column])
            graph = LinkRemoval(kept, 40).adjacency
            expected = task.model(task.data.x, graph, pair[:, None]).sigmoid()
            torch.testing.assert_close(found[column : column + 1], expected)
        visible = task.model(task.data.x, LinkRemoval(RING, 40).adjacency, pairs).sigmoid()
    assert (found - visible).abs()[known].min() > 1e-4  # or this would not see the fault


def test_many_known_links_are_hidden_in_groups_no_larger_than_a_batch(
    task: LinkPrediction, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []

    def model(x: Tensor, graph: Adjacency, pairs: Tensor) -> Tensor:
        own = is_edge(graph.csr, pairs)
        seen.append((RING.size(1) - graph.num_edges // 2, pairs.size(1)))
        return own.float()  # 1 where a pair sees its own link

    class Fake(SimpleNamespace):
        def to(self, device: str) -> Any:
            return model

    both = torch.cat([RING, RING.flip(0), torch.tensor([[0], [20]])], dim=1)
    fake: Any = SimpleNamespace(data=task.data, model=Fake(), batch_size=4)
    for parts, sizes in ((100, {1}), (40, {2}), (5, {4})):
        seen.clear()
        monkeypatch.setattr(link_scores, "PARTS", parts)
        scores, known = score_pairs(fake, both, "cpu")
        assert known.tolist() == [True] * 160 + [False]
        assert (scores == 0.5).all()
        assert seen[0] == (0, 1)
        assert {hidden for hidden, _ in seen[1:]} == sizes
        assert sum(number for _, number in seen[1:]) == 160


def test_no_pairs_and_no_known_pairs(task: LinkPrediction) -> None:
    scores, known = score_pairs(task, torch.empty(2, 0, dtype=torch.long), "cpu")
    assert scores.shape == known.shape == (0,)
    scores, known = score_pairs(task, torch.tensor([[0], [20]]), "cpu")
    assert not known.any()
    assert 0 < scores.item() < 1


@pytest.mark.filterwarnings("ignore:.* are training links too")
def test_a_link_that_is_listed_twice_is_hidden_whole() -> None:
    torch.manual_seed(0)
    data = links_from_arrays(
        torch.cat([RING, RING[:, :3]], dim=1), val=RING[:, :4], test=RING[:, 4:8], metric="auc"
    )
    task = LinkPrediction(NCN(**data.dims, hidden_channels=8), data).eval()
    pair = RING[:, :1]
    found, _ = score_pairs(task, pair, "cpu")
    with torch.no_grad():
        graph = LinkRemoval(RING[:, 1:], 40).adjacency
        expected = task.model(data.x, graph, pair).sigmoid()
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("kind", [ForwardLinkGNN, TopDownLinkGNN, BackpropLinkGNN])
@pytest.mark.parametrize("row_block", [None, 7])
def test_forward_learning_scores_all_pairs_with_the_training_links(
    kind: Any, row_block: int | None
) -> None:
    torch.manual_seed(0)
    x = torch.rand(40, 6)
    apart = torch.stack([torch.arange(40), (torch.arange(40) + 20) % 40])
    data = LinkData(
        x=x,
        num_nodes=40,
        train=RING[:, 8:],
        train_negative=apart[:, :20],
        val=RING[:, :4],
        val_negative=apart[:, :4],
        test=RING[:, 4:8],
        test_negative=apart[:, 4:8],
        metric="auc",
    )
    task = ForwardLinkLearning(kind(6, hidden_channels=8), data, row_block=row_block).eval()
    pairs = torch.tensor([[0, 0, 5, 11, 3], [1, 20, 6, 10, 3]])
    found, known = score_pairs(task, pairs, "cpu")
    assert known.tolist() == [True, False, True, True, False]  # the first is one of validation
    with torch.no_grad():
        expected = task.model(x, LinkRemoval(data.train, 40).adjacency, pairs)
    if kind is BackpropLinkGNN:  # the others answer with probabilities
        expected = expected.sigmoid()
    torch.testing.assert_close(found, expected)
    assert ((found > 0) & (found < 1)).all()
