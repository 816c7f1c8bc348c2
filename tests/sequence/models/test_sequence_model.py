"""A stack around any mixer: parallel equals streaming, whatever stands around the mixer."""

from functools import partial

import pytest
import torch
from torch import nn

from graphseq import load, save
from graphseq.sequence.models import Aaren, Recurrent, SequenceModel
from graphseq.sequence.nn import (
    S6,
    SSD,
    AarenAttention,
    Block,
    LinearAttention,
    QuasiLSTM,
    SoftmaxAttention,
    State,
)

V = 7
MIXERS = {
    "softmax": partial(SoftmaxAttention, num_heads=2),
    "linear": partial(LinearAttention, num_heads=2),
    "aaren": partial(AarenAttention, num_heads=2),
    "s6": partial(S6, state_size=3),
    "ssd": partial(SSD, num_heads=2, state_size=3),
    "qlstm": partial(QuasiLSTM, reversed_sigmoid=True),
}


def tokens(batch: int = 3, time: int = 9) -> torch.Tensor:
    return torch.randint(0, V, (batch, time), generator=torch.Generator().manual_seed(0))


def build(mixer: str = "aaren", **arguments: object) -> SequenceModel:
    torch.manual_seed(0)
    arguments = {"num_tokens": V, "hidden_channels": 8, **arguments}
    return SequenceModel(V, mixer=MIXERS[mixer], **arguments).double().eval()


@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize(
    "around",
    [
        {"norm": "pre", "ff_channels": 16, "max_length": 20, "tie_weights": True},
        {"norm": "post", "ff_channels": 16, "activation": "relu"},
        {"norm": "none", "cutoffs": (4,)},
    ],
)
def test_streaming_equals_the_whole(mixer: str, around: dict[str, object]) -> None:
    model = build(mixer, **around)
    x = tokens()
    whole, last = model(x)
    state, steps = model.init_state(3), []
    for x_t in x.unbind(1):
        y_t, state = model.step(x_t, state)
        steps.append(y_t)
    torch.testing.assert_close(torch.stack(steps, 1), whole, atol=1e-10, rtol=1e-10)
    assert state.tensors.keys() == last.tensors.keys()
    for name, tensor in last.tensors.items():
        torch.testing.assert_close(state[name], tensor, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize("split", [0, 1, 4, 9])
def test_running_on_from_a_state(mixer: str, split: int) -> None:
    model = build(mixer, max_length=20)
    x = tokens()
    whole, _ = model(x)
    first, state = model(x[:, :split])
    second, _ = model(x[:, split:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole, atol=1e-10, rtol=1e-10)


def test_stream_one_sequence_and_several() -> None:
    model = build("s6", max_length=20)
    x = tokens()
    whole, _ = model(x)
    one, several = model.stream(), model.stream(3)
    for t in range(9):
        torch.testing.assert_close(one(int(x[1, t])), whole[1, t])
        torch.testing.assert_close(several(x[:, t]), whole[:, t])
    one.reset()
    torch.testing.assert_close(one(int(x[2, 0])), whole[2, 0])


def test_stream_of_features() -> None:
    model = SequenceModel(2, in_channels=3, mixer=MIXERS["ssd"], hidden_channels=8, readout="last")
    x = torch.randn(2, 5, 3)
    stream = model.stream(2)
    for t in range(5):
        answer = stream(x[:, t])
        torch.testing.assert_close(answer, model(x[:, : t + 1])[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("readout", ["all", "last", "mean"])
def test_padding_changes_nothing(readout: str) -> None:
    model = build("qlstm", readout=readout)
    x, lengths = tokens(), torch.tensor([9, 4, 1])
    answer, _ = model(x, lengths=lengths)
    for i, length in enumerate(lengths.tolist()):
        alone, _ = model(x[i : i + 1, :length])
        mine = answer[i, :length] if readout == "all" else answer[i]
        torch.testing.assert_close(mine, alone[0])


def test_asked_positions_and_targets() -> None:
    model = build("linear")
    x = tokens()
    logits, _ = model(x)
    asked = torch.rand(x.shape, generator=torch.Generator().manual_seed(1)) < 0.4
    torch.testing.assert_close(model(x, asked=asked)[0], logits[asked])
    expected = nn.functional.cross_entropy(logits.flatten(0, 1), x.flatten(), reduction="none")
    torch.testing.assert_close(model(x, targets=x)[0].flatten(), expected)
    some, _ = model(x, asked=asked, targets=x)
    torch.testing.assert_close(some, expected.view(x.shape)[asked])


def test_adaptive_softmax_is_a_distribution() -> None:
    model = build("linear", cutoffs=(4,))
    x = tokens()
    log_prob, _ = model(x)
    torch.testing.assert_close(log_prob.exp().sum(-1), torch.ones(3, 9, dtype=torch.float64))
    picked = log_prob.gather(-1, x[..., None]).squeeze(-1)
    torch.testing.assert_close(model(x, targets=x)[0], -picked)


def test_one_aaren_layer_has_512_weights_more_than_a_transformer_layer() -> None:
    def count(module: nn.Module) -> int:
        return sum(p.numel() for p in module.parameters())

    twin = nn.TransformerEncoderLayer(512, 8, dim_feedforward=2048, batch_first=True)
    block = Aaren(1, in_channels=1, num_layers=1).blocks[0]
    attention = Block(SoftmaxAttention(512, num_heads=8), ff_channels=2048, norm="post")
    assert count(block) == 3_152_896
    assert count(attention) == count(twin) == 3_152_384


def test_a_post_norm_block_is_a_transformer_encoder_layer() -> None:
    torch.manual_seed(0)
    twin = nn.TransformerEncoderLayer(8, 2, dim_feedforward=16, batch_first=True, dropout=0.0)
    block = Block(SoftmaxAttention(8, num_heads=2), ff_channels=16, norm="post")
    with torch.no_grad():
        mine = block.mixer
        mine.in_proj.weight.copy_(twin.self_attn.in_proj_weight)
        mine.in_proj.bias.copy_(twin.self_attn.in_proj_bias)
        mine.out_proj.load_state_dict(twin.self_attn.out_proj.state_dict())
    for own, other in (
        (block.mlp_in, twin.linear1),
        (block.mlp_out, twin.linear2),
        (block.mixer_norm, twin.norm1),
        (block.mlp_norm, twin.norm2),
    ):
        own.load_state_dict(other.state_dict())
    x = torch.randn(2, 6, 8)
    mask = nn.Transformer.generate_square_subsequent_mask(6)
    torch.testing.assert_close(block(x)[0], twin(x, src_mask=mask), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("cell", ["elman", "jordan", "lstm", "gru"])
def test_recurrent_streams_and_reads_both_ways(cell: str) -> None:
    model = Recurrent(V, num_tokens=V, cell=cell, hidden_channels=8, num_layers=2).double().eval()
    x = tokens()
    whole, _ = model(x)
    stream = model.stream(3)
    for t in range(9):
        torch.testing.assert_close(stream(x[:, t]), whole[:, t], atol=1e-10, rtol=1e-10)
    both = Recurrent(V, num_tokens=V, cell=cell, hidden_channels=8, bidirectional=True)
    assert both(x)[1] is None
    with pytest.raises(
        ValueError, match=r"Recurrent: does not stream, for a mixer reads both ways"
    ):
        both.stream()


def test_init_normal_keeps_what_a_mixer_keeps() -> None:
    torch.manual_seed(0)
    model = SequenceModel(
        V, num_tokens=V, hidden_channels=64, num_layers=2, init="normal", mixer=MIXERS["s6"]
    )
    mixer = model.blocks[0].mixer
    assert 0.017 < model.embedding.weight.std() < 0.023
    assert 0.008 < mixer.out_proj.weight.std() < 0.012  # 0.02 / sqrt(2 * 2)
    for name in mixer.keeps_init:
        assert mixer.get_submodule(name).bias is None or mixer.get_submodule(name).bias.abs().sum()


@pytest.mark.parametrize(
    "model",
    [
        lambda: SequenceModel(V, num_tokens=V, mixer=MIXERS["s6"], hidden_channels=8),
        lambda: Aaren(V, num_tokens=V, hidden_channels=8, num_heads=2, ff_channels=16),
        lambda: Recurrent(V, in_channels=3, hidden_channels=8, bidirectional=True),
    ],
)
def test_saved_and_loaded(model, tmp_path) -> None:
    first = model().eval()
    save(first, tmp_path)
    second = load(tmp_path)
    x = tokens() if first.num_tokens else torch.randn(2, 5, 3)
    assert torch.equal(first(x)[0], second(x)[0])


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"num_tokens": None}, "in_channels=None and num_tokens=None; pass one of them"),
        ({"in_channels": 3}, "in_channels=3 and num_tokens=7"),
        ({"readout": "first"}, "readout is 'first'; pass all, last or mean"),
        ({"init": "xavier"}, "init is 'xavier'"),
        ({"norm": "rms"}, "norm is 'rms'; pass pre, post or none"),
        ({"activation": "silu"}, "activation is 'silu'"),
        ({"tie_weights": True, "cutoffs": (2,)}, "Head: got tied weights and cutoffs"),
        ({"max_length": 0}, "Positions: max_length is 0"),
    ],
)
def test_wrong_arguments(arguments: dict[str, object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        build(**arguments)


def test_learned_positions_end() -> None:
    model = build(max_length=9)
    _, state = model(tokens())
    with pytest.raises(ValueError, match="sequence of 10 steps, but max_length is 9"):
        model.step(tokens()[:, 0], state)
    with pytest.raises(ValueError, match="sequence of 10 steps, but max_length is 9"):
        model(tokens(time=10))


def test_foreign_states_and_inputs_are_refused() -> None:
    model = build()
    with pytest.raises(ValueError, match="state belongs to Aaren; states are not exchanged"):
        model(tokens(), State("Aaren", dict(model.init_state(3).tensors)))
    with pytest.raises(ValueError, match="state is of 2 sequences, x of 3"):
        model(tokens(), model.init_state(2))
    with pytest.raises(TypeError, match="state is a list"):
        model(tokens(), [])
    other = build("qlstm")
    with pytest.raises(ValueError, match="AarenAttention: state has shapes"):
        model(tokens(), other.init_state(3))
    with pytest.raises(ValueError, match=r"x has shape \(3, 9, 1\).*expected \[B, T\] tokens"):
        model(torch.randn(3, 9, 1))
    with pytest.raises(ValueError, match=r"expected \[B\] tokens"):
        model.step(tokens(), model.init_state(3))
    with pytest.raises(ValueError, match="readout is mean"):
        build(readout="mean").stream()


def test_what_is_asked_is_checked() -> None:
    model, x = build(), tokens()
    with pytest.raises(ValueError, match=r"asked has dtype torch\.int64; pass booleans"):
        model(x, asked=torch.ones_like(x))
    with pytest.raises(ValueError, match=r"targets has shape \(3, 8\), expected \[3, 9\]"):
        model(x, targets=x[:, 1:])
    with pytest.raises(ValueError, match="asked needs an answer at every position"):
        build(readout="last")(x, asked=x > 2)
