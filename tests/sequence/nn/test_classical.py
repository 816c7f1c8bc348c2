"""The classical cells: torch's layers with the same weights, the historical forms, their errors.

That forward equals step by step, with lengths, states and gradients, is in test_mixers.py.
"""

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from graphseq.sequence.nn import GRU, LSTM, Bidirectional, Elman, Jordan
from graphseq.sequence.nn.bidirectional import reverse_steps
from graphseq.sequence.nn.elman import elman_loop
from graphseq.sequence.nn.fused_cells import fused_gru, fused_lstm, fused_rnn
from graphseq.sequence.nn.gru_loop import gru_after_loop, gru_before_loop
from graphseq.sequence.nn.jordan_loop import jordan_loop
from graphseq.sequence.nn.lstm_loop import lstm_loop
from graphseq.sequence.nn.recurrent_cell import RecurrentCell

B, T, D = 4, 7, 5
LENGTHS = torch.tensor([4, 7, 1, 6])
PAIRS: dict[str, tuple[Any, Callable[[], nn.RNNBase]]] = {
    "tanh": (Elman, partial(nn.RNN, D, D, batch_first=True)),
    "relu": (Elman, partial(nn.RNN, D, D, nonlinearity="relu", batch_first=True)),
    "lstm": (LSTM, partial(nn.LSTM, D, D, batch_first=True)),
    "gru": (GRU, partial(nn.GRU, D, D, batch_first=True)),
}
every_dtype = pytest.mark.parametrize("dtype", [torch.float64, torch.float32])


def random(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def near(got: Tensor, expected: Tensor) -> None:
    double = got.dtype == torch.float64
    tolerance = 1e-11 if double else 2e-5
    torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)


def from_torch_state(mixer: RecurrentCell, h: Any) -> dict[str, Tensor]:
    return dict(zip(mixer.state_names, h if isinstance(h, tuple) else (h,), strict=True))


def torch_run(module: nn.RNNBase, x: Tensor, before: Any, lengths: Tensor | None) -> Any:
    if lengths is None:
        return module(x, before)
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    y, after = module(packed, before)
    return pad_packed_sequence(y, batch_first=True, total_length=x.shape[1])[0], after


@every_dtype
@pytest.mark.parametrize("lengths", [None, LENGTHS, torch.full((B,), T)])
@pytest.mark.parametrize("name", PAIRS)
def test_equals_torch(name: str, lengths: Tensor | None, dtype: torch.dtype) -> None:
    """Outputs, final states, and the gradients of inputs, states and weights."""
    cls, build = PAIRS[name]
    module = build().to(dtype)
    mixer = cls.from_torch(module)
    x = random(B, T, D, dtype=dtype).requires_grad_()
    before = [random(1, B, D, dtype=dtype, seed=i).requires_grad_() for i in (1, 2)]
    carried = (before[0], before[1]) if name == "lstm" else before[0]
    states = before[: len(mixer.state_names)]
    weights = [module.weight_ih_l0, module.weight_hh_l0, module.bias_ih_l0]
    y_torch, after_torch = torch_run(module, x, carried, lengths)
    after_torch = after_torch if isinstance(after_torch, tuple) else (after_torch,)
    state = mixer.make_state(**dict(zip(mixer.state_names, [h[0] for h in states], strict=True)))
    y, after = mixer(x, state, lengths=lengths)
    near(y, y_torch)
    for key, tensor in zip(mixer.state_names, after_torch, strict=True):
        near(after[key], tensor[0])
    factor = random(B, T, D, dtype=dtype, seed=3)
    loss = sum(((t * t).sum() for t in after.tensors.values()), (y * factor).sum())
    loss_torch = sum(((t * t).sum() for t in after_torch), (y_torch * factor).sum())
    own = [mixer.weight_input, mixer.weight_hidden, mixer.bias]
    got = torch.autograd.grad(loss, [x, *states, *own])
    expected = torch.autograd.grad(loss_torch, [x, *states, *weights])
    for a, b in zip(got, expected, strict=True):
        near(a, b)


def test_gru_candidate_bias_has_torchs_gradient() -> None:
    module = nn.GRU(D, D, batch_first=True).double()
    mixer, x = GRU.from_torch(module), random(B, T, D)
    mixer(x)[0].square().sum().backward()
    module(x)[0].square().sum().backward()
    assert mixer.candidate_bias is not None
    near(mixer.candidate_bias.grad, module.bias_hh_l0.grad[2 * D :])


@pytest.mark.parametrize("name", PAIRS)
def test_from_torch_without_biases(name: str) -> None:
    cls, build = PAIRS[name]
    module = build(bias=False).double()  # type: ignore[call-arg]
    near(cls.from_torch(module)(random(B, T, D))[0], module(random(B, T, D))[0])


MASKS = [None, torch.tensor([4, 0, 7, 1]), torch.zeros(B, dtype=torch.int64)]


@pytest.mark.parametrize("lengths", MASKS)
@pytest.mark.parametrize("cell", ["tanh", "relu", "lstm", "gru"])
def test_fused_layers_equal_the_loops(cell: str, lengths: Tensor | None) -> None:
    """Other devices run these; here they run on the CPU, empty sequences included."""
    mask = None if lengths is None else (torch.arange(T)[:, None] < lengths)[:, :, None]
    gates = {"lstm": 4, "gru": 3}.get(cell, 1)
    x, h, c = random(T, B, D), random(B, D), random(B, D, seed=1)
    weights = [random(gates * D, D), random(gates * D, D, seed=1), random(gates * D)]
    parts = [t.requires_grad_() for t in (x, h, c, *weights)]
    if cell == "lstm":
        forms = {"forget_gate": True, "coupled": False, "squashed": True}
        results = (
            fused_lstm(x, h, c, weights, mask),
            lstm_loop(x, h, c, *weights, peepholes=None, mask=mask, **forms),
        )
    elif cell == "gru":
        second = torch.cat([torch.zeros(2 * D, dtype=h.dtype), random(D)])
        results = (
            fused_gru(x, h, [*weights, second], mask),
            gru_after_loop(x, h, *weights, candidate_bias=random(D), mask=mask),
        )
    else:
        results = (
            fused_rnn(cell, x, h, weights, mask),  # type: ignore[arg-type]
            elman_loop(x, h, *weights, mask=mask, activation=cell),  # type: ignore[arg-type]
        )
    grads = []
    for y, *after in results:
        inside = y if mask is None else y * mask
        loss = inside.square().sum() + sum(t.pow(3).sum() for t in after)
        grads.append(torch.autograd.grad(loss, parts, allow_unused=True, materialize_grads=True))
    for got, expected in zip(results[0][1:], results[1][1:], strict=True):
        near(got, expected)
    for got, expected in zip(*grads, strict=True):
        near(got, expected)


FLAGS = [
    {"forget_gate": forget, "coupled": coupled, "squashed": squashed}
    for forget, coupled, squashed in product([True, False], [True, False], [True, False])
    if forget or not coupled
]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("peephole", [False, True])
@pytest.mark.parametrize("flags", FLAGS, ids=str)
def test_gradcheck_of_the_lstm_loop(flags: dict[str, bool], peephole: bool, masked: bool) -> None:
    gates = 4 if flags["forget_gate"] and not flags["coupled"] else 3
    mask = torch.tensor([[1, 1], [0, 1], [0, 1]], dtype=torch.bool)[..., None] if masked else None
    shapes = [(3, 2, 2), (2, 2), (2, 2), (gates * 2, 2), (gates * 2, 2), (gates * 2,)]
    parts = [random(*s, seed=i).requires_grad_() for i, s in enumerate(shapes)]
    parts += [random(gates - 1, 2).requires_grad_()] if peephole else []

    def run(*parts: Tensor) -> tuple[Tensor, ...]:
        seen = parts[6] if peephole else None
        return lstm_loop(*parts[:6], peepholes=seen, mask=mask, **flags)

    torch.autograd.gradcheck(run, parts)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("cell", ["after", "before", "jordan"])
def test_gradcheck_of_the_other_loops(cell: str, masked: bool) -> None:
    mask = torch.tensor([[1, 1], [0, 1], [0, 1]], dtype=torch.bool)[..., None] if masked else None
    rows = 2 if cell == "jordan" else 6
    shapes: list[tuple[int, ...]] = [(3, 2, 2), (2, 2), (rows, 2), (rows, 2), (rows,)]
    shapes += {"after": [(2,)], "before": [], "jordan": [(2, 2), (2,)]}[cell]
    parts = [random(*s, seed=i).requires_grad_() for i, s in enumerate(shapes)]

    def run(*parts: Tensor) -> tuple[Tensor, ...]:
        if cell == "after":
            return gru_after_loop(*parts[:5], candidate_bias=parts[5], mask=mask)
        if cell == "before":
            return gru_before_loop(*parts, mask=mask)
        y, context = jordan_loop(
            *parts, mask=mask,
            activation="sigmoid", output_activation="tanh", self_connection=0.3,
        )  # fmt: skip
        return y if mask is None else y * mask, context  # at padding y may be anything

    torch.autograd.gradcheck(run, parts)


CELLS = [
    partial(Elman, activation="sigmoid"),
    partial(Jordan, self_connection=0.5),
    partial(LSTM, peephole=True),
    partial(GRU),
    partial(GRU, reset="before"),
]


@pytest.mark.parametrize("build", CELLS)
def test_two_backward_passes_give_the_same(build: Any) -> None:
    """The way back works in place, but not on what the forward pass has kept."""
    mixer, x = build(D).double(), random(B, T, D).requires_grad_()
    loss = mixer(x)[0].square().sum()
    parts = [x, *mixer.parameters()]
    first = torch.autograd.grad(loss, parts, retain_graph=True)
    for a, b in zip(first, torch.autograd.grad(loss, parts), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("build", CELLS)
def test_half_precision_weights_compute_in_float32(build: Any) -> None:
    mixer, x = build(D).bfloat16(), random(B, T, D, dtype=torch.bfloat16)
    y, state = mixer(x)
    assert y.dtype == torch.bfloat16
    assert {t.dtype for t in state.tensors.values()} == {torch.float32}
    exact = mixer.float()(x.float())[0]
    torch.testing.assert_close(y, exact.bfloat16())


def gates_of(mixer: LSTM, *names: str) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
    parts = [p.detach().chunk(mixer.num_gates) for p in (mixer.weight_input, mixer.weight_hidden)]
    bias = mixer.bias.detach().chunk(mixer.num_gates)
    return dict(zip(names, zip(*parts, bias, strict=True), strict=True))


def full_lstm(i: Any, f: Any, g: Any, o: Any) -> LSTM:
    """An LSTM with four gates from (input weight, hidden weight, bias) of each."""
    mixer = LSTM(D).double()
    with torch.no_grad():
        for parameter, parts in zip(
            (mixer.weight_input, mixer.weight_hidden, mixer.bias), zip(i, f, g, o, strict=True),
            strict=True,
        ):  # fmt: skip
            parameter.copy_(torch.cat(parts))
    return mixer


def test_coupled_gates_are_an_input_gate_with_the_opposite_sign() -> None:
    """sigma(-a) = 1 - sigma(a)."""
    coupled, x = LSTM(D, coupled=True).double(), random(B, T, D)
    gates = gates_of(coupled, "f", "g", "o")
    opposite = tuple(-part for part in gates["f"])
    full = full_lstm(opposite, gates["f"], gates["g"], gates["o"])
    near(coupled(x)[0], full(x)[0])
    near(coupled(x)[1]["c"], full(x)[1]["c"])


def test_without_forget_gate_is_a_forget_gate_that_is_open() -> None:
    old, x = LSTM(D, forget_gate=False).double(), random(B, T, D)
    gates = gates_of(old, "i", "g", "o")
    zeros = torch.zeros(D, D, dtype=x.dtype)
    is_open = zeros, zeros, torch.full((D,), 1e3, dtype=x.dtype)
    full = full_lstm(gates["i"], is_open, gates["g"], gates["o"])
    near(old(x)[0], full(x)[0])


@pytest.mark.parametrize("parallel", [True, False])
def test_constant_error_carousel(parallel: bool) -> None:
    """With input gates closed, the error at the cell after 100 steps comes back unchanged."""
    mixer = LSTM(D, forget_gate=False).double()
    with torch.no_grad():
        mixer.bias[:D] = -1e4
    x, before = random(B, 100, D), mixer.init_state(B)
    c = random(B, D).requires_grad_()
    state = mixer.make_state(h=before["h"], c=c)
    if parallel:
        _, state = mixer(x, state)
    else:
        for x_t in x.unbind(1):
            _, state = mixer.step(x_t, state)
    assert torch.equal(state["c"], c)
    (grad,) = torch.autograd.grad(state["c"].sum(), c)
    assert torch.equal(grad, torch.ones_like(grad))


def test_peepholes_enter_the_gates() -> None:
    """One step from the formula: i and f see the old cell, o the new one."""
    mixer, x = LSTM(D, peephole=True).double(), random(B, 1, D)
    assert mixer.peepholes is not None
    p = mixer.peepholes.detach()
    state = mixer.make_state(h=random(B, D), c=random(B, D, seed=1))
    a = {
        name: x[:, 0] @ w_x.t() + state["h"] @ w_h.t() + b
        for name, (w_x, w_h, b) in gates_of(mixer, "i", "f", "g", "o").items()
    }
    i, f = torch.sigmoid(a["i"] + p[0] * state["c"]), torch.sigmoid(a["f"] + p[1] * state["c"])
    c = f * state["c"] + i * torch.tanh(a["g"])
    o = torch.sigmoid(a["o"] + p[2] * c)
    y, after = mixer(x, state)
    near(after["c"], c)
    near(y[:, 0], o * torch.tanh(c))
    (grad,) = torch.autograd.grad(after["c"].sum(), mixer.peepholes)
    near(grad[0], (torch.tanh(a["g"]) * i * (1 - i) * state["c"]).sum(0))
    near(grad[1], (state["c"] * f * (1 - f) * state["c"]).sum(0))
    assert not grad[2].any()
    with torch.no_grad():
        mixer.peepholes.zero_()
    plain = full_lstm(*gates_of(mixer, "i", "f", "g", "o").values())
    near(mixer(x, state)[0], plain(x, state)[0])


def test_identity_at_the_output_shows_the_cell() -> None:
    mixer = LSTM(D, output_activation="identity").double()
    with torch.no_grad():
        mixer.bias[3 * D :] = 1e3  # output gate open
    y, state = mixer(random(B, T, D))
    near(y[:, -1], state["c"])


def test_forget_bias_and_other_biases_at_the_start() -> None:
    assert LSTM(D, forget_bias=2.0).bias.tolist() == [0.0] * D + [2.0] * D + [0.0] * 2 * D
    assert LSTM(D, coupled=True).bias.tolist() == [1.0] * D + [0.0] * 2 * D
    assert not LSTM(D, forget_gate=False).bias.any()


def test_reset_before_follows_the_published_formula() -> None:
    mixer, x, h = GRU(D, reset="before").double(), random(B, T, D), random(B, D)
    w_r, w_z, w_n = mixer.weight_input.chunk(3)
    u_r, u_z, u_n = mixer.weight_hidden.chunk(3)
    b_r, b_z, b_n = mixer.bias.chunk(3)
    y, _ = mixer(x, mixer.make_state(h=h))
    for t, x_t in enumerate(x.unbind(1)):
        r = torch.sigmoid(x_t @ w_r.t() + h @ u_r.t() + b_r)
        z = torch.sigmoid(x_t @ w_z.t() + h @ u_z.t() + b_z)
        n = torch.tanh(x_t @ w_n.t() + (r * h) @ u_n.t() + b_n)
        h = (1 - z) * n + z * h
        near(y[:, t], h)


def test_the_reset_gates_differ_but_not_when_the_candidate_forgets() -> None:
    after, before, x = GRU(D).double(), GRU(D, reset="before").double(), random(B, T, D)
    assert after.candidate_bias is not None
    with torch.no_grad():
        after.candidate_bias.zero_()
        before.load_state_dict(after.state_dict(), strict=False)
    assert not torch.allclose(after(x)[0], before(x)[0])
    with torch.no_grad():
        after.weight_hidden[2 * D :] = before.weight_hidden[2 * D :] = 0.0
    near(after(x)[0], before(x)[0])


@pytest.mark.parametrize("alpha", [0.0, 0.7])
def test_jordan_follows_its_formula(alpha: float) -> None:
    mixer = Jordan(D, self_connection=alpha, output_activation="tanh").double()
    x, context = random(B, T, D), torch.zeros(B, D, dtype=torch.float64)
    y, _ = mixer(x)
    for t, x_t in enumerate(x.unbind(1)):
        a = x_t @ mixer.weight_input.t() + context @ mixer.weight_context.t() + mixer.bias
        out = torch.tanh(torch.tanh(a) @ mixer.weight_output.t() + mixer.bias_output)
        near(y[:, t], out)
        context = alpha * context + out


@pytest.mark.parametrize("alpha", [0.0, 0.7])
def test_teacher_forcing(alpha: float) -> None:
    """By its own outputs it changes nothing; by others it equals steps with targets."""
    mixer, x, targets = Jordan(D, self_connection=alpha).double(), random(B, T, D), random(B, T, D)
    start = mixer(random(B, 3, D))[1].detach()
    lengths = torch.tensor([4, 7, 0, 6])
    for given in (None, lengths):
        y, state = mixer(x, start, lengths=given)
        forced, state_forced = mixer(x, start, lengths=given, targets=y.detach())
        near(forced, y)
        near(state_forced["context"], state["context"])
    forced, last = mixer(x, start, targets=targets.requires_grad_())
    state, loss = start, torch.zeros(())
    for t in range(T):
        y_t, state = mixer.step(x[:, t], state, target=targets[:, t])
        near(forced[:, t], y_t)
        loss = loss + y_t.square().sum()
    near(last["context"], state["context"])
    parts = [targets, *mixer.parameters()]
    for a, b in zip(
        torch.autograd.grad(forced.square().sum(), parts), torch.autograd.grad(loss, parts),
        strict=True,
    ):  # fmt: skip
        near(a, b)
    assert mixer(x[:, :0], start, targets=targets[:, :0])[0].shape == (B, 0, D)


def test_elman_starts_as_it_says() -> None:
    orthogonal = Elman(D, init="orthogonal").weight_hidden
    near(orthogonal @ orthogonal.t(), torch.eye(D))
    identity = Elman(D, init="identity", activation="relu")
    assert torch.equal(identity.weight_hidden, torch.eye(D))
    assert not identity.bias.any()


@pytest.mark.parametrize(
    ("mixer", "number"),
    [
        (Elman(D), D * (D + D + 1)),
        (Jordan(D), D * (D + D + 1) + D * (D + 1)),
        (LSTM(D), 4 * D * (D + D + 1)),
        (LSTM(D, peephole=True), 4 * D * (D + D + 1) + 3 * D),
        (LSTM(D, forget_gate=False), 3 * D * (D + D + 1)),
        (LSTM(D, coupled=True, peephole=True), 3 * D * (D + D + 1) + 2 * D),
        (GRU(D), 3 * D * (D + D + 1) + D),
        (GRU(D, reset="before"), 3 * D * (D + D + 1)),
        (Bidirectional(D), 2 * (3 * D * (D + D + 1) + D) + D * (2 * D + 1)),
        (Bidirectional(D, mixer=LSTM, combine="sum"), 8 * D * (D + D + 1)),
    ],
    ids=repr,
)
def test_number_of_parameters(mixer: nn.Module, number: int) -> None:
    assert sum(p.numel() for p in mixer.parameters()) == number


@every_dtype
@pytest.mark.parametrize("lengths", [None, LENGTHS])
@pytest.mark.parametrize("name", PAIRS)
def test_bidirectional_equals_torch(name: str, lengths: Tensor | None, dtype: torch.dtype) -> None:
    """Both directions, where the backward one starts at each sequence's own last step."""
    cls, build = PAIRS[name]
    module = build(bidirectional=True).to(dtype)  # type: ignore[call-arg]
    copies = iter([cls.from_torch(module), cls.from_torch(module, reverse=True)])
    mixer = Bidirectional(D, mixer=lambda _: next(copies), combine="sum")
    x = random(B, T, D, dtype=dtype).requires_grad_()
    both, after = torch_run(module, x, None, lengths)
    expected = both[..., :D] + both[..., D:]
    y, state = mixer(x, lengths=lengths)
    near(y, expected)
    for key, tensor in from_torch_state(mixer.forward_mixer, after).items():
        near(state[f"forward_{key}"], tensor[0])
        near(state[f"backward_{key}"], tensor[1])
    (got,) = torch.autograd.grad(y.square().sum(), x)
    near(got, torch.autograd.grad(expected.square().sum(), x)[0])


def test_bidirectional_projects_both_outputs() -> None:
    mixer, x = Bidirectional(D, mixer=partial(LSTM, peephole=True)).double(), random(B, T, D)
    ahead = mixer.forward_mixer(x)[0]
    back = mixer.backward_mixer(x.flip(1))[0].flip(1)
    assert mixer.projection is not None
    near(mixer(x)[0], mixer.projection(torch.cat([ahead, back], -1)))


def test_reversing_twice_changes_nothing() -> None:
    x = random(B, T, D)
    for lengths in (None, LENGTHS, torch.tensor([0, 1, 7, 2])):
        assert torch.equal(reverse_steps(reverse_steps(x, lengths), lengths), x)
    assert torch.equal(reverse_steps(x, torch.tensor([0, 1, 7, 2]))[3, :2], x[3, :2].flip(0))


X = torch.zeros(B, T, D)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Elman(D, activation="gelu"), 'Elman: activation is \'gelu\'; use one of "tanh"'),
        (lambda: Elman(D, init="zeros"), "Elman: init is 'zeros'"),
        (lambda: Jordan(D, activation="cube"), "Jordan: activation is 'cube'"),
        (lambda: Jordan(D, output_activation="relu"), "Jordan: output_activation is 'relu'"),
        (lambda: Jordan(D, self_connection=1.0), "Jordan: self_connection is 1.0"),
        (lambda: Jordan(D)(X, targets=X[:, 1:]), "Jordan: targets have shape"),
        (
            lambda: Jordan(D).step(X[:, 0], Jordan(D).init_state(B), target=X),
            "Jordan: target has shape",
        ),
        (lambda: LSTM(D, output_activation="relu"), "LSTM: output_activation is 'relu'"),
        (lambda: LSTM(D, coupled=True, forget_gate=False), "LSTM: coupled=True"),
        (lambda: GRU(D, reset="never"), "GRU: reset is 'never'"),
        (lambda: Bidirectional(D, combine="mean"), "Bidirectional: combine is 'mean'"),
        (lambda: Bidirectional(D, mixer=lambda _: GRU(3)), "Bidirectional: mixer made one"),
        (
            lambda: Bidirectional(D)(X, GRU(D).init_state(B)),
            "Bidirectional: state is given",
        ),
        (lambda: LSTM.from_torch(nn.LSTM(D, D, 2)), "LSTM.from_torch: module has num_layers=2"),
        (lambda: LSTM.from_torch(nn.LSTM(D, D, proj_size=2)), "LSTM.from_torch: module has num"),
        (lambda: GRU.from_torch(nn.GRU(3, D)), "GRU.from_torch: module has input_size=3"),
        (lambda: Elman.from_torch(nn.RNN(D, D), reverse=True), "Elman.from_torch: reverse=True"),
    ],
)  # fmt: skip
def test_errors_say_what_is_wrong(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        call()


def test_from_torch_refuses_another_kind() -> None:
    with pytest.raises(TypeError, match=r"^GRU.from_torch: module is a LSTM; pass a torch.nn.GRU"):
        GRU.from_torch(nn.LSTM(D, D))  # type: ignore[arg-type]
