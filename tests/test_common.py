"""One battery for every public model: what is promised of all of them, checked for all of them."""

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from graphseq import load, save
from graphseq.graph import models as graph_models
from graphseq.training.task import PartlyUsed

NUM_NODES, IN_CHANNELS, OUT_CHANNELS = 12, 6, 3
KNOWN = torch.tensor([5, 2, 8])  # of the classes 0, 1 and 2, where labels are an input


@dataclass(frozen=True)
class NodeModel:
    """A configuration of a model with ``forward(x [N, F], edge_index [2, E]) -> [N, C]``."""

    name: str
    build: Callable[[], nn.Module]
    uses_graph: bool = True
    constant: str = ""
    """Why features get no gradient."""
    untaught: str = ""
    """Why weights get no gradient from an answer."""

    @property
    def kind(self) -> type[nn.Module]:
        return type(self.build())

    def answer(
        self, model: nn.Module, x: Tensor, edge_index: Tensor, name: Tensor | None = None
    ) -> Tensor:
        """Class scores ``[N, C]``; ``name`` is what each node is called now, if not as before."""
        return model(x, edge_index)

    def answer_of(self, model: nn.Module, x: Tensor, edge_index: Tensor, node: int) -> Tensor:
        """Class scores ``[C]`` of one node, asked about by itself."""
        return self.answer(model, x, edge_index)[node]

    def shape(self, num_nodes: int) -> tuple[int, ...]:
        return num_nodes, OUT_CHANNELS

    def renamed(self, answer: Tensor, order: Tensor) -> Tensor:
        """The answer after new node ``i`` took the place of the old node ``order[i]``."""
        return answer[order]


class ForwardModel(NodeModel):
    """A configuration of a model with ``forward(x, edge_index, known, labels) -> scores``.

    The classes of three nodes are known, and of as many as there are in smaller graphs.
    """

    def answer(
        self, model: nn.Module, x: Tensor, edge_index: Tensor, name: Tensor | None = None
    ) -> Tensor:
        """Class scores ``[N, C]``, zeros for nodes whose class is known."""
        name = torch.arange(len(x)) if name is None else name
        known, labels = self.known(len(x))
        asked = name[~torch.isin(torch.arange(len(x)), known)]
        out = x.new_zeros(len(x), OUT_CHANNELS)
        return out.index_put((asked,), model(x, edge_index, name[known], labels, asked))

    def answer_of(self, model: nn.Module, x: Tensor, edge_index: Tensor, node: int) -> Tensor:
        # Asked about together, nodes that are tried as a class may hear one another through it.
        return model(x, edge_index, *self.known(len(x)), torch.tensor([node]))[0]

    def known(self, num_nodes: int) -> tuple[Tensor, Tensor]:
        """Nodes and their classes."""
        inside = KNOWN < num_nodes
        return KNOWN[inside], torch.arange(len(KNOWN))[inside]


class LinkModel(NodeModel):
    """A configuration of a model of pairs: ``forward(x, edge_index, pairs [2, B]) -> [B]``."""

    def answer(
        self, model: nn.Module, x: Tensor, edge_index: Tensor, name: Tensor | None = None
    ) -> Tensor:
        """Logits or probabilities of all pairs, ``[N, N]``."""
        nodes = torch.arange(len(x))
        return model(x, edge_index, torch.cartesian_prod(nodes, nodes).t()).view(len(x), len(x))

    def shape(self, num_nodes: int) -> tuple[int, ...]:
        return num_nodes, num_nodes

    def renamed(self, answer: Tensor, order: Tensor) -> Tensor:
        return answer[order][:, order]


def node_model(kind: type[nn.Module], uses_graph: bool = True, **arguments: object) -> NodeModel:
    label = ",".join(f"{key}={value}" for key, value in arguments.items())
    return NodeModel(
        name=kind.__name__ + (f"({label})" if label else ""),
        build=lambda: kind(in_channels=IN_CHANNELS, out_channels=OUT_CHANNELS, **arguments),
        uses_graph=uses_graph,
    )


def forward_model(kind: type[nn.Module], untaught: str = "", **arguments: object) -> ForwardModel:
    label = ",".join(f"{key}={value}" for key, value in arguments.items())
    sizes = {"in_channels": IN_CHANNELS, "out_channels": OUT_CHANNELS, "hidden_channels": 8}
    return ForwardModel(
        name=kind.__name__ + (f"({label})" if label else ""),
        build=lambda: kind(**sizes, **arguments),
        constant=LOCAL,
        untaught=untaught,
    )


def link_model(
    kind: type[nn.Module],
    learns: bool = True,
    constant: str = "",
    untaught: str = "",
    **arguments: object,
) -> LinkModel:
    label = ",".join(f"{key}={value}" for key, value in arguments.items())
    sizes = {"in_channels": IN_CHANNELS, "hidden_channels": 8} if learns else {}
    return LinkModel(
        name=kind.__name__ + (f"({label})" if label else ""),
        build=lambda: kind(**sizes, **arguments),
        constant=constant,
        untaught=untaught,
    )


LOCAL = "what a layer that learns by itself sees is a constant to it"
TOP_DOWN = "an answer is a run of several time steps, which teach nothing"


NODE_MODELS = [
    node_model(graph_models.DAGNN),
    node_model(graph_models.DAGNN, batch_norm=True, input_dropout=0.0),
    node_model(graph_models.DAGNN, num_hops=0, uses_graph=False),
    node_model(graph_models.MLP, uses_graph=False),
    node_model(graph_models.GCN),
    node_model(graph_models.GAT),
    node_model(graph_models.APPNP),
    node_model(graph_models.SGC),
    node_model(graph_models.BackpropGNN),
    node_model(graph_models.BackpropGNN, conv="sage", normalize=False),
    node_model(graph_models.BackpropGNN, conv="gat", num_layers=3, recompute=True),
    forward_model(graph_models.ForwardGNN),
    forward_model(graph_models.ForwardGNN, conv="sage", num_layers=1),
    forward_model(graph_models.ForwardGNN, conv="gat", temperature=0.5),
    forward_model(graph_models.LabelAppendingGNN, num_layers=3),
    forward_model(graph_models.LabelAppendingGNN, conv="gat", loss="symba"),
    forward_model(graph_models.VirtualNodeGNN, num_layers=3),
    forward_model(graph_models.VirtualNodeGNN, conv="sage", num_wrong=1),
    forward_model(graph_models.TopToInputGNN, TOP_DOWN, num_layers=3),
    forward_model(graph_models.TopToInputGNN, TOP_DOWN, conv="gat", start_with_labels=True),
    forward_model(graph_models.TopToLossGNN, TOP_DOWN),
    forward_model(graph_models.TopToLossGNN, TOP_DOWN, conv="sage", bottom_up="paper"),
]
LINK_MODELS = [
    link_model(graph_models.GAE),
    link_model(graph_models.GAE, count_common=True),
    link_model(graph_models.NCN),
    link_model(graph_models.NCN, neighborhood="two_hop"),
    link_model(graph_models.NCN, neighborhood="difference", tail_activation=False),
    link_model(graph_models.NCNC),
    link_model(graph_models.NCNC, depth=2, two_layer_output=True),
    link_model(graph_models.NCNC, learn_prior=True),
    link_model(graph_models.BackpropLinkGNN),
    link_model(graph_models.BackpropLinkGNN, conv="gat", normalize=False),
    link_model(graph_models.ForwardLinkGNN, constant=LOCAL, num_layers=3),
    link_model(graph_models.ForwardLinkGNN, constant=LOCAL, conv="sage", loss="ff"),
    link_model(graph_models.TopDownLinkGNN, constant=LOCAL, untaught=TOP_DOWN),
    link_model(
        graph_models.TopDownLinkGNN, constant=LOCAL, untaught=TOP_DOWN, conv="gat", num_layers=1
    ),
]
HEURISTICS = [
    link_model(graph_models.CommonNeighbors, learns=False),
    link_model(graph_models.AdamicAdar, learns=False),
    link_model(graph_models.ResourceAllocation, learns=False),
    link_model(graph_models.Katz, learns=False),
    link_model(graph_models.PersonalizedPageRank, learns=False),
]
LEARNERS = [*NODE_MODELS, *LINK_MODELS]
CASES = [*LEARNERS, *HEURISTICS]
every_model = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
every_learner = pytest.mark.parametrize("case", LEARNERS, ids=lambda case: case.name)
every_constant = pytest.mark.parametrize(
    "case", [case for case in LEARNERS if case.constant], ids=lambda case: case.name
)
every_differentiable = pytest.mark.parametrize(
    "case", [case for case in LEARNERS if not case.constant], ids=lambda case: case.name
)
every_node_model = pytest.mark.parametrize("case", NODE_MODELS, ids=lambda case: case.name)


def test_no_public_model_is_left_out() -> None:
    public = {
        value
        for value in vars(graph_models).values()
        if isinstance(value, type) and issubclass(value, nn.Module)
    }
    assert public == {case.kind for case in CASES}


def features(dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(NUM_NODES, IN_CHANNELS, generator=generator, dtype=dtype)


def edges() -> Tensor:
    """A symmetric graph of eleven connected nodes and one isolated node, the last."""
    ring = torch.stack([torch.arange(11), (torch.arange(11) + 1) % 11])
    chords = torch.tensor([[0, 1, 2, 3], [5, 7, 6, 9]])
    half = torch.cat([ring, chords], dim=1)
    return torch.cat([half, half.flip(0)], dim=1)


def seeded(case: NodeModel, seed: int = 0, dtype: torch.dtype = torch.float32) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return case.build().to(dtype)


@every_model
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("training", [True, False])
def test_shape_and_dtype(case: NodeModel, dtype: torch.dtype, training: bool) -> None:
    out = case.answer(seeded(case, dtype=dtype).train(training), features(dtype), edges())
    assert out.shape == case.shape(NUM_NODES)
    assert out.dtype == dtype or case in HEURISTICS
    assert out.isfinite().all()


@every_model
def test_no_edges_and_one_node(case: NodeModel) -> None:
    no_edges = torch.empty(2, 0, dtype=torch.int64)
    model = seeded(case).eval()
    assert case.answer(model, features(), no_edges).isfinite().all()
    assert case.answer(model, features()[:1], no_edges).shape == case.shape(1)


@every_model
def test_inputs_are_left_alone(case: NodeModel) -> None:
    x, edge_index = features(), edges()
    case.answer(seeded(case).train(), x, edge_index)
    assert torch.equal(x, features())
    assert torch.equal(edge_index, edges())


@every_learner
def test_state_dict_round_trip(case: NodeModel) -> None:
    first, second = seeded(case, seed=0).eval(), seeded(case, seed=1).eval()
    assert not torch.equal(
        case.answer(first, features(), edges()), case.answer(second, features(), edges())
    )
    second.load_state_dict(first.state_dict())
    assert torch.equal(
        case.answer(first, features(), edges()), case.answer(second, features(), edges())
    )


@every_model
def test_save_and_load(case: NodeModel, tmp_path: Path) -> None:
    model = seeded(case).eval()
    save(model, tmp_path / "kept")
    again = load(tmp_path / "kept").eval()
    assert type(again) is type(model)
    assert torch.equal(
        case.answer(again, features(), edges()), case.answer(model, features(), edges())
    )


@every_learner
def test_copies_are_independent(case: NodeModel) -> None:
    model = seeded(case).eval()
    other = copy.deepcopy(model)
    before = case.answer(model, features(), edges())
    assert torch.equal(case.answer(other, features(), edges()), before)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1.0)
    assert torch.equal(case.answer(model, features(), edges()), before)


@every_learner
def test_the_seed_decides_everything(case: NodeModel) -> None:
    outputs = []
    for _ in range(2):
        with torch.random.fork_rng():
            torch.manual_seed(7)
            outputs.append(case.answer(case.build().train(), features(), edges()))
    assert torch.equal(*outputs)


@every_model
def test_evaluation_draws_nothing(case: NodeModel) -> None:
    model = seeded(case).eval()
    state = torch.get_rng_state()
    assert torch.equal(
        case.answer(model, features(), edges()), case.answer(model, features(), edges())
    )
    assert torch.equal(torch.get_rng_state(), state)


@every_learner
def test_every_used_parameter_receives_a_gradient(case: NodeModel) -> None:
    model = seeded(case).eval()  # without dropout, which could hide a parameter by chance
    out = case.answer(model, features(), edges()).square().sum()
    assert out.requires_grad is not bool(case.untaught)
    if case.untaught:
        return
    out.backward()
    unused = set(model.unused_parameters()) if isinstance(model, PartlyUsed) else set()
    silent = {n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert silent == unused


@every_differentiable
def test_gradient_of_the_features(case: NodeModel) -> None:
    model = seeded(case, dtype=torch.float64).eval()
    x = features(torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: case.answer(model, x, edges()), (x,), fast_mode=True)


@every_constant
def test_constant_features_get_no_gradient(case: NodeModel) -> None:
    x = features().requires_grad_()
    out = case.answer(seeded(case).eval(), x, edges()).square().sum()
    if out.requires_grad:
        assert torch.autograd.grad(out, x, allow_unused=True) == (None,)


@every_model
def test_permutation_equivariance(case: NodeModel) -> None:
    """Renaming the nodes renames the rows of the output and changes nothing else."""
    model = seeded(case, dtype=torch.float64).eval()
    order = torch.randperm(NUM_NODES, generator=torch.Generator().manual_seed(2))
    new_name = order.argsort()
    x = features(torch.float64)
    expected = case.renamed(case.answer(model, x, edges()), order)
    found = case.answer(model, x[order], new_name[edges()], new_name)
    torch.testing.assert_close(found, expected)


@every_model
def test_order_of_edges_does_not_matter(case: NodeModel) -> None:
    model = seeded(case, dtype=torch.float64).eval()
    order = torch.randperm(edges().shape[1], generator=torch.Generator().manual_seed(3))
    x = features(torch.float64)
    torch.testing.assert_close(
        case.answer(model, x, edges()[:, order]), case.answer(model, x, edges())
    )


@every_node_model
def test_edges_point_from_source_to_target(case: NodeModel) -> None:
    """One edge 0 -> 1: node 1 hears of node 0, and not the other way round."""
    model = seeded(case, dtype=torch.float64).eval()
    edge = torch.tensor([[0], [1]])
    hears = {}
    for asked, node in ((0, 0), (0, 1), (1, 0), (1, 1)):
        x, other = features(torch.float64), features(torch.float64)
        other[node] = 1.0 - x[node]
        change = case.answer_of(model, other, edge, asked) - case.answer_of(model, x, edge, asked)
        hears[asked, node] = bool(change.abs().max() > 1e-9)
    assert hears == {(0, 0): True, (0, 1): False, (1, 0): case.uses_graph, (1, 1): True}


@every_model
def test_every_argument_is_named_and_documented(case: NodeModel) -> None:
    documented = inspect.getdoc(case.kind) or ""
    for name, parameter in inspect.signature(case.kind).parameters.items():
        assert parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        assert parameter.annotation is not parameter.empty
        assert f"{name}: " in documented
