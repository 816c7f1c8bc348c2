"""Link models, a graph and pairs to try them on, and the dense twin of each; see ``dense_ncn``."""

from collections.abc import Callable
from typing import Any

import dense_ncn
import pytest
import torch
from torch import Tensor, nn

from graphseq.graph.models import GAE, NCN, NCNC

N, FEATURES, H = 14, 5, 6
Build = Callable[..., nn.Module]
NO_DROPOUT: dict[str, Any] = {"feature_dropout": 0.0, "dropout": 0.0, "pair_dropout": 0.0}
VARIANTS: dict[str, tuple[Build, dict[str, Any]]] = {
    "gae": (GAE, {}),
    "gae_tail": (GAE, {"tail_activation": True, "two_layer_output": True}),
    "gae_count": (GAE, {"count_common": True}),
    "ncn": (NCN, {}),
    "ncn_tails": (NCN, {"tail_activation": False, "two_layer_output": True, "beta": 0.7}),
    "ncn_plain": (NCN, {"node_mlp": False, "pair_layer_norm": False}),
    "ncn2": (NCN, {"neighborhood": "two_hop", "tail_activation": False}),
    "ncn_diff": (NCN, {"neighborhood": "difference"}),
    "ncnc": (NCNC, {}),
    "ncnc_tails": (NCNC, {"tail_activation": False, "node_mlp": False, "alpha": 1.05}),
    "ncnc_learned": (NCNC, {"learn_prior": True}),
    "ncnc2": (NCNC, {"depth": 2, "chunk_size": 7}),
    "ncnc_none": (NCNC, {"depth": 0}),
}
every_variant = pytest.mark.parametrize("name", VARIANTS)


def make(name: str, **more: Any) -> Any:
    kind, arguments = VARIANTS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind(FEATURES, H, **{**NO_DROPOUT, **arguments, **more}).double()


def graph(seed: int = 0) -> Tensor:
    """One direction of each edge, some twice, a loop; nodes 12 and 13 are isolated."""
    generator = torch.Generator().manual_seed(seed)
    edges = torch.randint(12, (2, 26), generator=generator)
    return torch.cat([edges, edges[:, :3], edges[:, :2].flip(0), torch.tensor([[4], [4]])], dim=1)


def features() -> Tensor:
    return torch.rand(N, FEATURES, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def pairs() -> Tensor:
    """Random ones, an edge, its reverse, repetitions, self pairs, isolated ends."""
    generator = torch.Generator().manual_seed(2)
    special = torch.tensor([[3, 3, 5, 12, 12, 0], [3, 3, 5, 13, 12, 13]])
    edge = graph()[:, :2]
    return torch.cat(
        [torch.randint(N, (2, 12), generator=generator), special, edge, edge.flip(0)], 1
    )


def labels() -> Tensor:
    return torch.rand(pairs().size(1), generator=torch.Generator().manual_seed(3)).round().double()


def twin(model: Any, x: Tensor, edge_index: Tensor, ends: Tensor) -> Tensor:
    a = dense_ncn.dense_graph(edge_index, len(x))
    x = x @ model.encoder.input.weight + model.encoder.input.bias
    scale = (a.sum(1) + 1).rsqrt().diag()
    h = scale @ (a + torch.eye(len(x))).double() @ scale @ x
    h = h * model.encoder.layer_weights
    return dense_ncn.score(model, h, a, ends, getattr(model, "depth", 0))


def gradients(value: Tensor, model: nn.Module) -> dict[str, Tensor]:
    found = torch.autograd.grad(value, list(model.parameters()), allow_unused=True)
    return {
        name: torch.zeros_like(p) if g is None else g
        for (name, p), g in zip(model.named_parameters(), found, strict=True)
    }


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    for name in theirs:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-9, atol=1e-10, msg=name)
