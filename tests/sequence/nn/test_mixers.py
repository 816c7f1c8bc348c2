"""Every mixer does exactly what its class declares: parallel == step by step == matrix over time.

A new mixer adds its configurations to one of the lists below; one that is exported and missing
there fails. Sizes are tiny, all numbers are random, and biases are not zero.
"""

import inspect
from functools import partial

import docstring_parser
import pytest
import torch
from torch import Tensor
from torch.func import functional_call

import graphseq.sequence.nn as layers
from graphseq.sequence.nn import (
    AarenAttention,
    LinearAttention,
    Mixer,
    NormalizedAttention,
    SoftmaxAttention,
    State,
)

# Name -> configuration, a constructor that still asks for the number of channels.
ATTENTION: dict[str, partial[Mixer]] = {
    "softmax": partial(SoftmaxAttention),
    "softmax, heads": partial(SoftmaxAttention, num_heads=2, key_channels=4, bias=False),
    "linear": partial(LinearAttention),
    "linear, heads": partial(LinearAttention, num_heads=4, key_channels=12, bias=False),
    "linear, relu": partial(LinearAttention, feature_map="relu"),
    "linear, identity": partial(LinearAttention, feature_map="identity", normalize=False),
    "linear, taylor": partial(
        LinearAttention, num_heads=2, key_channels=6, feature_map="taylor", order=2
    ),
    "normalized": partial(NormalizedAttention),
    "normalized, softplus": partial(NormalizedAttention, norm_fn="softplus", num_heads=2),
    "normalized, sigmoid": partial(NormalizedAttention, norm_fn="sigmoid", key_channels=3),
    "normalized, exp_softplus": partial(NormalizedAttention, norm_fn="exp_softplus", bias=False),
    "normalized, exp_sigmoid": partial(NormalizedAttention, norm_fn="exp_sigmoid"),
    "normalized, exp_exp": partial(NormalizedAttention, norm_fn="exp_exp", feature_map="elu"),
    "aaren": partial(AarenAttention),
    "aaren, heads": partial(AarenAttention, num_heads=2, bias=False),
}
RECURRENT: dict[str, partial[Mixer]] = {
    "s4d": partial(layers.S4D),
    "s4d, inverse": partial(layers.S4D, init="s4d-inv", state_size=2, out_proj=False),
    "s4d, real": partial(layers.S4D, init="s4d-real", state_size=3),
    "s6": partial(layers.S6),
    "s6, released": partial(layers.S6, init="dsf_release", state_size=3, delta_rank=2),
    "s6, one state": partial(layers.S6, state_size=1, out_proj=False),
    "ssd": partial(layers.SSD),
    "ssd, heads": partial(layers.SSD, num_heads=4, state_size=3, init="dsf_release"),
    "quasi-lstm": partial(layers.QuasiLSTM),
    "quasi-lstm, reversed": partial(layers.QuasiLSTM, reversed_sigmoid=True, output_tanh=True),
    "quasi-lstm, released": partial(layers.QuasiLSTM, expand=2, conv_width=4, gated=True),
    "quasi-gru": partial(layers.QuasiGRU),
    "rg-lru": partial(layers.RGLRU),
    "lru": partial(layers.LRU),
    "lru, ring": partial(layers.LRU, r_min=0.0, max_phase=0.3),
}
CLASSICAL: dict[str, partial[Mixer]] = {
    "elman": partial(layers.Elman),
    "elman, relu": partial(layers.Elman, activation="relu", init="identity"),
    "elman, sigmoid": partial(layers.Elman, activation="sigmoid", init="orthogonal"),
    "jordan": partial(layers.Jordan),
    "jordan, context": partial(
        layers.Jordan, activation="sigmoid", output_activation="tanh", self_connection=0.6
    ),
    "lstm": partial(layers.LSTM),
    "lstm, 1997": partial(layers.LSTM, forget_gate=False, output_activation="identity"),
    "lstm, 1997, peephole": partial(layers.LSTM, forget_gate=False, peephole=True),
    "lstm, peephole": partial(layers.LSTM, peephole=True, forget_bias=0.0),
    "lstm, coupled": partial(layers.LSTM, coupled=True, peephole=True),
    "gru": partial(layers.GRU),
    "gru, before": partial(layers.GRU, reset="before"),
    "bidirectional": partial(layers.Bidirectional),
    "bidirectional, lstm": partial(layers.Bidirectional, mixer=layers.LSTM, combine="sum"),
}

CASES = {**ATTENTION, **RECURRENT, **CLASSICAL}
STREAMING = [name for name, case in CASES.items() if case.func.streams]
B, D = 3, 8

# A gradient that is 0 for every input: a shift of all scores changes no softmax.
ZERO_GRADIENT = {"AarenAttention": {"k_proj.bias"}}

every_case = pytest.mark.parametrize("name", CASES)
every_stream = pytest.mark.parametrize("name", STREAMING)
TIMES = [(0, torch.float64), (1, torch.float64), (5, torch.float64)]
TIMES += [(70, torch.float64), (70, torch.float32)]  # past the blocks that ops cut time into
every_time = pytest.mark.parametrize(("time", "dtype"), TIMES)


def make(
    name: str, dtype: torch.dtype = torch.float64, *, channels: int = D, seed: int = 0
) -> Mixer:
    """A mixer whose parameters are moved off their initial values."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        mixer = CASES[name](channels).eval()
        for parameter in mixer.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    return mixer.to(dtype)


def inputs(
    time: int, dtype: torch.dtype = torch.float64, *, batch: int = B, seed: int = 1
) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, time, D, generator=generator, dtype=torch.float64).to(dtype)


def used_state(mixer: Mixer, dtype: torch.dtype = torch.float64) -> State:
    """The state after a random earlier segment."""
    return mixer(inputs(4, dtype, seed=9))[1].detach()


def by_steps(mixer: Mixer, x: Tensor, state: State) -> tuple[Tensor, State]:
    outputs = []
    for x_t in x.unbind(1):
        y_t, state = mixer.step(x_t, state)
        outputs.append(y_t)
    return (torch.stack(outputs, 1) if outputs else torch.zeros_like(x)), state


def assert_near(got: Tensor, expected: Tensor, tolerance: float | None = None) -> None:
    """Equal up to a fraction of the largest number: 1e-10 in float64, 1e-5 in float32."""
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    if tolerance is None:
        tolerance = 1e-10 if got.dtype in (torch.float64, torch.complex128) else 1e-5
    finite = expected.isfinite()
    assert torch.equal(got[~finite], expected[~finite])  # a maximum over nothing is -inf
    got, expected = got[finite], expected[finite]
    if got.numel():
        error = (got - expected).abs().max().item()
        assert error <= tolerance * max(1.0, expected.abs().max().item())


def assert_same_state(mixer: Mixer, got: State, expected: State) -> None:
    """The same memory: the same future and, where it has one shape, the same numbers."""
    dtype = next(mixer.parameters()).dtype
    future = inputs(3, dtype, batch=got.batch_size, seed=5)
    assert_near(mixer(future, got)[0], mixer(future, expected)[0])
    assert_near(mixer.step(future[:, 0], got)[0], mixer.step(future[:, 0], expected)[0])
    if mixer.constant_state:
        assert got.tensors.keys() == expected.tensors.keys()
        for key, tensor in got.tensors.items():
            assert_near(tensor, expected[key])


@every_time
@every_stream
def test_forward_equals_step_by_step(name: str, time: int, dtype: torch.dtype) -> None:
    mixer, x = make(name, dtype), inputs(time, dtype)
    y, state = mixer(x)
    stepped, state_stepped = by_steps(mixer, x, mixer.init_state(B))
    assert y.dtype == dtype
    assert_near(y, stepped)
    assert_same_state(mixer, state, state_stepped)


@every_time
@every_case
def test_forward_equals_the_matrix(name: str, time: int, dtype: torch.dtype) -> None:
    mixer, x = make(name, dtype), inputs(time, dtype)
    if not mixer.has_matrix:
        for method in (mixer.matrix, mixer.values, partial(mixer.readout, x)):
            with pytest.raises(NotImplementedError, match=type(mixer).__name__):
                method(x)
        return
    matrix, values = mixer.matrix(x), mixer.values(x)
    groups = values.shape[2]
    assert matrix.shape == (B, groups, time, time)
    mixed = torch.einsum("bgij,bjgp->bigp", matrix, values)
    assert_near(mixer.readout(mixed, x), mixer(x)[0])
    if mixer.streams:
        assert not matrix.triu(1).any()


@every_stream
def test_prefill_then_steps_at_every_split(name: str) -> None:
    mixer, x = make(name), inputs(5)
    for initial in (None, used_state(mixer)):
        y, state = mixer(x, initial)
        for split in range(x.shape[1] + 1):
            first, between = mixer(x[:, :split], initial)
            rest, last = by_steps(mixer, x[:, split:], between)
            assert_near(torch.cat([first, rest], 1), y)
            assert_near(torch.cat([first, mixer(x[:, split:], between)[0]], 1), y)
            assert_same_state(mixer, last, state)


@every_stream
def test_the_past_does_not_hear_the_future(name: str) -> None:
    mixer, x = make(name), inputs(9).requires_grad_()
    state, t = used_state(mixer), 4
    y, _ = mixer(x, state)
    changed = x.detach().clone()
    changed[:, t:] *= -3
    y_changed, _ = mixer(changed, state)
    assert_near(y_changed[:, :t], y[:, :t], 1e-13)
    assert not torch.allclose(y_changed[:, t:], y[:, t:])
    (grad,) = torch.autograd.grad(y[:, :t].square().sum(), x)
    assert not grad[:, t:].any()
    assert grad[:, : t - 1].any()


@every_case
def test_gradcheck(name: str) -> None:
    """Of inputs and parameters, also through a state that one segment hands to the next."""
    mixer = make(name, channels=D)
    x = inputs(5, batch=2).requires_grad_()
    names = list(dict(mixer.named_parameters()))
    parameters = [p.detach().clone().requires_grad_() for p in mixer.parameters()]

    def run(x: Tensor, *values: Tensor) -> Tensor:
        weights = dict(zip(names, values, strict=True))
        if not mixer.streams:
            return functional_call(mixer, weights, x)[0]
        y, state = functional_call(mixer, weights, x[:, :3])
        return torch.cat([y, functional_call(mixer, weights, (x[:, 3:], state))[0]], 1)

    torch.autograd.gradcheck(run, (x, *parameters), fast_mode=True)


@every_stream
def test_gradients_of_forward_and_steps(name: str) -> None:
    mixer, x = make(name), inputs(37).requires_grad_()
    parts = [x, *mixer.parameters()]
    grads = [
        torch.autograd.grad(y.square().sum(), parts)
        for y in (mixer(x)[0], by_steps(mixer, x, mixer.init_state(B))[0])
    ]
    for parallel, stepped in zip(*grads, strict=True):
        assert_near(parallel, stepped)


@pytest.mark.parametrize("initial", [False, True])
@every_case
def test_lengths_equal_each_sequence_alone(name: str, initial: bool) -> None:
    """Whatever the padding holds, NaN included, in outputs, states and gradients."""
    mixer, x = make(name), inputs(6)
    lengths = torch.tensor([4, 0, 6])
    inside = torch.arange(6) < lengths[:, None]
    padded = x.masked_fill(~inside[:, :, None], torch.nan).requires_grad_()
    state = used_state(mixer) if initial and mixer.streams else None
    y, last = mixer(padded, state, lengths=lengths)
    y.square().sum().backward()
    got = {key: p.grad.clone() for key, p in mixer.named_parameters() if p.grad is not None}
    mixer.zero_grad()
    assert not y[~inside].any()
    assert padded.grad is not None
    assert not padded.grad[~inside].any()
    for row, length in enumerate(lengths.tolist()):
        rows = torch.tensor([row])
        before = state.select(rows) if state is not None else None
        alone, last_alone = mixer(x[rows, :length], before)
        assert_near(y[rows, :length], alone)
        alone.square().sum().backward()
        if mixer.streams:
            assert_same_state(mixer, last.select(rows), last_alone)
    for key, parameter in mixer.named_parameters():
        if parameter.grad is not None:
            assert_near(got[key], parameter.grad)


@pytest.mark.parametrize(
    ("lengths", "error"),
    [
        (torch.tensor([1, 2, 7]), ValueError),
        (torch.tensor([1, -1, 2]), ValueError),
        (torch.tensor([1, 2]), ValueError),
        (torch.tensor([1.0, 2.0, 3.0]), TypeError),
    ],
)
@every_case
def test_refuses_lengths(name: str, lengths: Tensor, error: type[Exception]) -> None:
    mixer = make(name)
    with pytest.raises(error, match=f"^{type(mixer).__name__}: lengths"):
        mixer(inputs(6), lengths=lengths)


@every_case
def test_no_steps_change_nothing(name: str) -> None:
    mixer, x = make(name), inputs(0).requires_grad_()
    y, _ = mixer(x)
    assert y.shape == (B, 0, D)
    y.sum().backward()
    for state in (mixer.init_state(B), used_state(mixer)) if mixer.streams else ():
        y, after = mixer(inputs(0), state, lengths=torch.zeros(B, dtype=torch.int64))
        assert y.shape == (B, 0, D)
        assert_same_state(mixer, after, state)


@every_stream
def test_merge_is_associative_and_equals_running_on(name: str) -> None:
    mixer = make(name)
    parts = inputs(9).split([2, 4, 3], 1)
    a, b, c = (mixer(part)[1] for part in parts)
    if not mixer.merges:
        with pytest.raises(NotImplementedError, match=type(mixer).__name__):
            mixer.merge(a, b)
        return
    whole = mixer(torch.cat(parts, 1))[1]
    assert_same_state(mixer, mixer.merge(a, mixer.merge(b, c)), whole)
    assert_same_state(mixer, mixer.merge(mixer.merge(a, b), c), whole)
    start = mixer.init_state(B)
    assert_same_state(mixer, mixer.merge(start, whole), whole)
    assert_same_state(mixer, mixer.merge(whole, start), whole)
    with pytest.raises(ValueError, match=f"^{type(mixer).__name__}: state"):
        mixer.merge(a, mixer.init_state(B + 1))


@every_stream
def test_the_state_has_the_size_that_is_declared(name: str) -> None:
    mixer = make(name)
    sizes = [by_steps(mixer, inputs(t), mixer.init_state(B))[1].num_bytes for t in (0, 1, 50)]
    if mixer.constant_state:
        assert sizes[0] == sizes[1] == sizes[2]
    else:
        assert sizes[0] < sizes[1] < sizes[2]
    assert mixer(inputs(50))[1].num_bytes == sizes[2]


@every_stream
def test_a_step_leaves_the_earlier_state_and_rows_are_independent(name: str) -> None:
    mixer, x = make(name), inputs(1)[:, 0]
    state, rows = used_state(mixer), torch.tensor([2, 0, 0, 1])
    before = state.map(Tensor.clone)
    y, after = mixer.step(x, state)
    for key, tensor in before.tensors.items():
        assert torch.equal(tensor, state[key])
    y_rows, after_rows = mixer.step(x[rows], state.select(rows))
    assert_near(y_rows, y[rows])
    assert_same_state(mixer, after_rows, after.select(rows))


@every_case
def test_refuses_other_inputs_and_states(name: str) -> None:
    mixer, x = make(name), inputs(2)
    cls = type(mixer).__name__
    for wrong in (x[..., 1:], x[0], x[None]):
        with pytest.raises(ValueError, match=f"^{cls}: x has shape"):
            mixer(wrong)
    if not mixer.streams:
        return
    good = used_state(mixer)
    with pytest.raises(ValueError, match=f"^{cls}: x_t has shape"):
        mixer.step(x, good)
    other = State("Other", good.tensors)
    fewer = State(cls, dict(list(good.tensors.items())[1:]) or {"none": torch.zeros(B)})
    wrong_states = [other, fewer, mixer.init_state(B + 1)]
    wider = make(name, channels=2 * D)
    if wider.state_shapes(B) != mixer.state_shapes(B):  # or its state does belong
        wrong_states.append(wider.init_state(B))
    for state in wrong_states:
        with pytest.raises(ValueError, match=f"^{cls}: state"):
            mixer(x, state)
        with pytest.raises(ValueError, match=f"^{cls}: state"):
            mixer.step(x[:, 0], state)
    with pytest.raises(TypeError, match=f"^{cls}: state"):
        mixer(x, good.tensors)
    with pytest.raises(ValueError, match=f"^{cls}: channels is 0"):
        CASES[name](0)


@every_case
def test_weights_round_trip_and_the_same_again(name: str) -> None:
    mixer, other, x = make(name), make(name, seed=1), inputs(40)
    y, _ = mixer(x)
    assert torch.equal(mixer(x)[0], y)
    assert not torch.equal(other(x)[0], y)
    other.load_state_dict(mixer.state_dict())
    assert torch.equal(other(x)[0], y)


@every_case
def test_every_parameter_receives_a_gradient(name: str) -> None:
    mixer = make(name)
    mixer(inputs(7))[0].square().sum().backward()
    for key, parameter in mixer.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        if key not in ZERO_GRADIENT.get(type(mixer).__name__, ()):
            assert parameter.grad.any(), key


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@every_case
def test_autocast(name: str, dtype: torch.dtype) -> None:
    """Finite and near float32; what is remembered for ever stays in float32."""
    mixer, x = make(name, torch.float32), inputs(40, dtype)
    exact, _ = mixer(x.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, state = mixer(x)
        if mixer.streams:
            stepped, state = by_steps(mixer, x[:, :3], state)
            assert stepped.isfinite().all()
    assert_near(y.float(), exact, 0.1)
    y.float().square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in mixer.parameters())
    if mixer.streams and mixer.constant_state:
        kinds = {t.dtype for t in state.tensors.values() if t.is_floating_point()}
        assert kinds <= {torch.float32}


@pytest.mark.parametrize("mixer", {case.func for case in CASES.values()}, ids=lambda c: c.__name__)
def test_arguments_are_keywords_typed_and_documented(mixer: type[Mixer]) -> None:
    first, *others = inspect.signature(mixer).parameters.values()
    assert first.name == "channels"
    documented = {p.arg_name for p in docstring_parser.parse(inspect.getdoc(mixer) or "").params}
    for parameter in (first, *others):
        assert parameter.annotation is not inspect.Parameter.empty, parameter.name
        assert parameter.name in documented, parameter.name
    for parameter in others:
        assert parameter.kind is inspect.Parameter.KEYWORD_ONLY, parameter.name


def test_every_mixer_is_in_the_lists() -> None:
    public = [getattr(layers, name) for name in dir(layers) if not name.startswith("_")]
    mixers = {c for c in public if inspect.isclass(c) and issubclass(c, Mixer) and c is not Mixer}
    assert mixers == {case.func for case in CASES.values()}
