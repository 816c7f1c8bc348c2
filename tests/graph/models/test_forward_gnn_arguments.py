"""What ForwardGNN and its siblings refuse, each argument by its name."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from graphseq.graph.models import (
    BackpropGNN,
    BackpropLinkGNN,
    ForwardGNN,
    ForwardLinkGNN,
    LabelAppendingGNN,
    TopDownLinkGNN,
    TopToInputGNN,
    TopToLossGNN,
    VirtualNodeGNN,
)

N, FEATURES, CLASSES = 40, 6, 3
NODE_MODELS = [ForwardGNN, LabelAppendingGNN, VirtualNodeGNN, TopToInputGNN, TopToLossGNN]
LINK_MODELS = [ForwardLinkGNN, TopDownLinkGNN, BackpropLinkGNN]
every_node_model = pytest.mark.parametrize("kind", NODE_MODELS)
every_link_model = pytest.mark.parametrize("kind", LINK_MODELS)


def inputs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    edges = torch.randint(N, (2, 90), generator=generator)
    return torch.rand(N, FEATURES, generator=generator), torch.cat([edges, edges.flip(0)], dim=1)


@every_node_model
@pytest.mark.parametrize(
    ("known", "labels", "error", "words"),
    [
        ([0, 40], [0, 1], ValueError, r"known contains 40, outside 0\.\.39"),
        ([0, -1], [0, 1], ValueError, r"known contains -1, outside 0\.\.39"),
        ([0, 1], [0, 3], ValueError, r"labels contains 3, outside 0\.\.2"),
        ([0, 1], [0, -1], ValueError, r"labels contains -1, outside 0\.\.2"),
        ([0, 1, 0], [0, 1, 1], ValueError, "known lists a node twice; list each once"),
        ([0, 1], [0], ValueError, r"shapes \(2,\) and \(1,\); pass one class for each"),
        ([0.0, 1.0], [0, 1], TypeError, r"known has dtype torch\.float32; pass integers"),
        ([0, 1], [0.0, 1.0], TypeError, r"labels has dtype torch\.float32; pass integers"),
        ([[0, 1]], [0, 1], ValueError, r"known has shape \(1, 2\); pass a vector"),
    ],
)
def test_known_labels_that_cannot_be_are_named(
    kind: Any, known: Any, labels: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=f"^{kind.__name__}: .*{words}"):
        kind(FEATURES, CLASSES)(*inputs(), torch.tensor(known), torch.tensor(labels))


@every_node_model
def test_nodes_and_features_that_do_not_fit_are_named(kind: Any) -> None:
    model, (x, edges) = kind(FEATURES, CLASSES), inputs()
    known = torch.tensor([3, 1]), torch.tensor([0, 2])
    with pytest.raises(ValueError, match=r"nodes contains 40, outside 0\.\.39"):
        model(x, edges, *known, torch.tensor([40]))
    with pytest.raises(ValueError, match=r"edge_index\[0\] contains 39, outside 0\.\.38"):
        model(x[:-1], edges, *known)
    words = rf"^{kind.__name__}: x has shape \(40, 5\), expected \[N, 6\]"
    with pytest.raises(ValueError, match=words):
        model(x[:, :-1], edges, *known)


@every_node_model
def test_no_nodes_and_no_known_labels(kind: Any) -> None:
    model, none = kind(FEATURES, CLASSES), torch.tensor([], dtype=torch.int64)
    assert model(*inputs(), torch.tensor([3]), torch.tensor([0]), none).shape == (0, CLASSES)
    out = model(*inputs(), none, none)
    assert out.shape == (N, CLASSES)
    assert out.isfinite().all()


@every_link_model
def test_pairs_and_features_that_do_not_fit_are_named(kind: Any) -> None:
    model, (x, edges) = kind(FEATURES), inputs()
    name = kind.__name__
    with pytest.raises(ValueError, match=rf"^{name}: pairs contains 40, outside 0\.\.39"):
        model(x, edges, torch.tensor([[0], [40]]))
    with pytest.raises(ValueError, match=rf"^{name}: pairs has shape \(3, 2\), expected \[2, B\]"):
        model(x, edges, torch.zeros(3, 2, dtype=torch.int64))
    with pytest.raises(TypeError, match=rf"^{name}: pairs has dtype torch\.float32"):
        model(x, edges, torch.rand(2, 3))
    with pytest.raises(ValueError, match=r"x has shape \(40, 5\), expected \[N, 6\]"):
        model(x[:, :-1], edges, torch.tensor([[0], [1]]))
    assert model(x, edges, torch.zeros(2, 0, dtype=torch.int64)).shape == (0,)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ForwardGNN(0, 3), "ForwardGNN: in_channels is 0; pass 1 or more"),
        (lambda: ForwardGNN(3, 3, num_layers=0), "ForwardGNN: num_layers is 0"),
        (lambda: ForwardGNN(3, 3, hidden_channels=-2), "ForwardGNN: hidden_channels is -2"),
        (lambda: ForwardGNN(3, 3, conv="gin"), "conv is 'gin'; use"),  # type: ignore[arg-type]
        (lambda: ForwardGNN(3, 3, temperature=0.0), "temperature is 0.0; pass a number above 0"),
        (lambda: LabelAppendingGNN(3, 1), "out_channels is 1; no label can be wrong"),
        (lambda: LabelAppendingGNN(3, 3, num_wrong=0), "num_wrong is 0; pass 1 or more, or None"),
        (lambda: LabelAppendingGNN(3, 3, loss="mse"), "loss is 'mse'; use"),  # type: ignore[arg-type]
        (lambda: LabelAppendingGNN(3, 3, sharpness=0.0), "sharpness is 0.0; pass a number above 0"),
        (lambda: TopToLossGNN(3, 3, bottom_up="up"), "bottom_up is 'up'; use"),  # type: ignore[arg-type]
        (lambda: BackpropGNN(3, 3, num_layers=0), "BackpropGNN: num_layers is 0; pass 1 or more"),
        (lambda: BackpropLinkGNN(3, hidden_channels=0), "hidden_channels is 0; pass 1 or more"),
        (lambda: ForwardLinkGNN(0), "ForwardLinkGNN: in_channels is 0; pass 1 or more"),
        (lambda: TopDownLinkGNN(3, num_layers=0), "TopDownLinkGNN: num_layers is 0"),
        (lambda: ForwardLinkGNN(3, loss="mse"), "ForwardLinkGNN: loss is 'mse'; use"),  # type: ignore[arg-type]
    ],
)
def test_arguments_that_cannot_be_are_named(make: Callable[[], nn.Module], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()
