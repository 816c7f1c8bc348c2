"""One battery for every public sequence model, in several configurations."""

import copy
import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from graphseq import load, save
from graphseq.sequence import models
from graphseq.sequence.models import Aaren, PointerNetwork, Recurrent, Seq2Seq, SequenceModel
from graphseq.sequence.nn import GRU, LRU, S4D, S6, SSD, QuasiGRU, QuasiLSTM

V, F, C = 6, 3, 4
TOKENS = {"num_tokens": V, "hidden_channels": 8}
FEATURES = {"in_channels": F, "hidden_channels": 8}
SMALL = {"num_heads": 2, "ff_channels": 16}
MODELS: dict[str, Callable[[], nn.Module]] = {
    "aaren": lambda: Aaren(C, **TOKENS, **SMALL),
    "aaren, features": lambda: Aaren(C, **FEATURES, **SMALL, readout="mean", max_length=9),
    "aaren, pre": lambda: Aaren(V, **TOKENS, **SMALL, norm="pre", tie_weights=True),
    "elman": lambda: Recurrent(C, **TOKENS, cell="elman", num_layers=2),
    "jordan": lambda: Recurrent(C, **FEATURES, cell="jordan", readout="last"),
    "lstm": lambda: Recurrent(C, **FEATURES, readout="last", dropout=0.2),
    "gru, both ways": lambda: Recurrent(C, **TOKENS, cell="gru", bidirectional=True),
    "s6": lambda: SequenceModel(C, **TOKENS, mixer=partial(S6, state_size=3), ff_channels=16),
    "ssd": lambda: SequenceModel(V, **TOKENS, mixer=partial(SSD, state_size=3), init="normal"),
    "s4d": lambda: SequenceModel(C, **FEATURES, mixer=partial(S4D, state_size=4), readout="last"),
    "lru": lambda: SequenceModel(C, **FEATURES, mixer=LRU, readout="mean", norm="post"),
    "qlstm": lambda: SequenceModel(C, **TOKENS, mixer=partial(QuasiLSTM, gated=True)),
    "qgru": lambda: SequenceModel(V, **TOKENS, mixer=QuasiGRU, cutoffs=(3,)),
    "seq2seq": lambda: Seq2Seq(V, hidden_channels=8, attention=False),
    "seq2seq, attention": lambda: Seq2Seq(V, hidden_channels=8, mixer=GRU, reverse_source=True),
    "pointer": lambda: PointerNetwork(**FEATURES, init_scale=0.5),
    "pointer, variants": lambda: PointerNetwork(**FEATURES, bidirectional=True, glimpses=1, clip=9),
    "pointer, attention": lambda: PointerNetwork(**FEATURES, head="attention", max_nodes=9),
    "pointer, seq2seq": lambda: PointerNetwork(**FEATURES, head="seq2seq", max_nodes=10),
}
every_model = pytest.mark.parametrize("name", MODELS)


def built(name: str) -> nn.Module:
    torch.manual_seed(0)
    return MODELS[name]()


def answer(
    model: nn.Module, batch: int = 2, time: int = 5, dtype: torch.dtype = torch.float32
) -> Tensor:
    """What the model says of drawn sequences."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(0, V, (batch, time), generator=generator)
    if isinstance(model, Seq2Seq):
        return model(tokens, tokens.flip(1))
    features = torch.randn(batch, time, F, generator=generator).to(dtype)
    if isinstance(model, PointerNetwork):
        return model(features, tokens % (time + 1))
    return model(tokens if model.num_tokens else features)[0]


def shape(model: nn.Module, batch: int, time: int) -> tuple[int, ...]:
    if isinstance(model, Seq2Seq):
        return batch, time, V
    if isinstance(model, PointerNetwork):
        return batch, time, time + 1
    wide = (batch, time) if model.readout == "all" else (batch,)
    return (*wide, model.out_channels)


def test_the_battery_leaves_no_public_model_out() -> None:
    public = {kind for kind in vars(models).values() if isinstance(kind, type)}
    assert {type(built(name)) for name in MODELS} == public


@every_model
@pytest.mark.parametrize(("batch", "time"), [(2, 5), (1, 1), (3, 9)])
def test_shapes(name: str, batch: int, time: int) -> None:
    model = built(name)
    assert answer(model, batch, time).shape == shape(model, batch, time)


@every_model
def test_every_parameter_receives_a_gradient(name: str) -> None:
    model = built(name).eval()
    out = answer(model)
    (out * torch.randn(out.shape, generator=torch.Generator().manual_seed(2))).sum().backward()
    without = [key for key, p in model.named_parameters() if p.grad is None]
    assert without == []
    assert all(p.grad.isfinite().all() for p in model.parameters())


@every_model
def test_deterministic_and_float64_agrees(name: str) -> None:
    model = built(name).eval()
    first = answer(model)
    assert torch.equal(first, answer(model))
    double = answer(copy.deepcopy(model).double(), dtype=torch.float64)
    assert double.dtype == torch.float64
    torch.testing.assert_close(first.double(), double, atol=1e-4, rtol=1e-4)


@every_model
def test_autocast_is_close_and_finite(name: str) -> None:
    model = built(name).eval()
    with torch.autocast("cpu", torch.bfloat16):
        half = answer(model)
    assert half.isfinite().all()
    torch.testing.assert_close(half.float(), answer(model), atol=0.15, rtol=0.15)


@every_model
def test_state_dict_and_files(name: str, tmp_path: Path) -> None:
    model = built(name).eval()
    other = MODELS[name]().eval()
    other.load_state_dict(model.state_dict())
    assert torch.equal(answer(model), answer(other))
    save(model, tmp_path)
    assert torch.equal(answer(model), answer(load(tmp_path)))


@every_model
def test_every_argument_is_named_and_documented(name: str) -> None:
    kind = type(built(name))
    documented = inspect.getdoc(kind) or ""
    for argument, parameter in inspect.signature(kind).parameters.items():
        assert parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        assert parameter.annotation is not parameter.empty
        assert f"{argument}: " in documented
