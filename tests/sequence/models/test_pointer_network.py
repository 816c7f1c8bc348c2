"""Pointer networks: one call == step by step, and searches that find what they should."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from graphseq import load, save
from graphseq.sequence.models import PointerNetwork
from graphseq.sequence.nn import PointerAttention

LENGTHS = torch.tensor([5, 3, 1, 4])
VARIANTS: dict[str, dict[str, Any]] = {
    "pointer": {},
    "variants": {"glimpses": 2, "clip": 3.0, "bidirectional": True},
    "attention": {"head": "attention", "max_nodes": 6},
    "seq2seq": {"head": "seq2seq", "max_nodes": 6},
}
every_variant = pytest.mark.parametrize("variant", VARIANTS)


def network(variant: str = "pointer", init_scale: float = 1.0) -> PointerNetwork:
    """With large weights, so that answers are not all alike."""
    torch.manual_seed(0)
    return PointerNetwork(hidden_channels=8, init_scale=init_scale, **VARIANTS[variant]).double()


def points(batch: int = 4, number: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(batch, number, 2, generator=generator, dtype=torch.float64)


def cell(layer: Any, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    gates = layer.weight_input @ x + layer.weight_hidden @ h + layer.bias
    i, f, g, o = gates.view(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def step_by_step(model: PointerNetwork, p: Tensor, target: list[int]) -> Tensor:
    """The published loop for one instance: each step computes all keys anew. ``[M, N + 1]``."""
    h = c = p.new_zeros(model.hidden_channels)
    encoded, scores, x = [], [], model.start
    for point in p:
        h, c = cell(model.encoder.ahead, point, h, c)
        encoded.append(h)
    for token in target:
        h, c = cell(model.decoder, x, h, c)
        attention, d = model.attention, h
        if attention is not None:
            memory = [model.end, *encoded] if model.head == "pointer" else encoded
            u = torch.stack(
                [
                    attention.v @ torch.tanh(attention.key.weight @ e + attention.query.weight @ h)
                    for e in memory
                ]
            )
            if model.head == "attention":
                weights = zip(u.softmax(0), encoded, strict=True)
                d = torch.cat([h, sum(a * e for a, e in weights)])
        scores.append(u if model.head == "pointer" else model.dictionary(d)[: len(p) + 1])
        x = p[token - 1]
    return torch.stack(scores)


@pytest.mark.parametrize("variant", ["pointer", "attention", "seq2seq"])
def test_values_and_gradients_are_those_of_the_loop(variant: str) -> None:
    model, p = network(variant), points(2)
    targets = torch.tensor([[2, 4, 1, 2, 0], [5, 3, 3, 1, 0]])
    one = model(p, targets)
    loop = torch.stack(
        [step_by_step(model, *pair) for pair in zip(p, targets.tolist(), strict=True)]
    )
    torch.testing.assert_close(one, loop, rtol=1e-10, atol=1e-10)
    weight = torch.arange(one.numel(), dtype=one.dtype).view(one.shape).sin()
    gradients = [torch.autograd.grad(out, list(model.parameters()), weight) for out in (one, loop)]
    for got, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


@every_variant
def test_padding_has_probability_zero_and_changes_nothing(variant: str) -> None:
    model, p = network(variant), points()
    p[torch.arange(5) >= LENGTHS[:, None]] = torch.nan
    targets = torch.tensor([[5, 2, 0], [3, 1, 0], [1, 0, -100], [2, 4, 0]])
    probabilities = model(p, targets, LENGTHS).softmax(-1)
    outside = torch.arange(6) > LENGTHS[:, None]
    assert bool((probabilities.transpose(1, 2)[outside] == 0).all())
    for i, n in enumerate(LENGTHS.tolist()):
        alone = model(p[i : i + 1, :n], targets[i : i + 1]).softmax(-1)
        torch.testing.assert_close(probabilities[i, :, : n + 1], alone[0], rtol=1e-10, atol=1e-10)
    (g,) = torch.autograd.grad(probabilities[..., 1].sum(), [model.decoder.weight_input])
    assert bool(g.isfinite().all())


@pytest.mark.parametrize("beam", [1, 3])
@pytest.mark.parametrize("constraint", [None, "hull", "delaunay", "tour"])
@every_variant
def test_batch_and_padding_do_not_change_answers(variant: str, constraint: Any, beam: int) -> None:
    model, p = network(variant), points()
    options = {"beam": beam, "constraint": constraint, "max_steps": 9}
    answers, logp = model.decode(p, LENGTHS, **options)
    again = model.log_prob(p, answers, LENGTHS, constraint=constraint)
    torch.testing.assert_close(logp, again.detach(), rtol=1e-10, atol=1e-10)
    for i, n in enumerate(LENGTHS.tolist()):
        alone, alone_logp = model.decode(p[i : i + 1, :n], **options)
        steps = alone.shape[1]
        assert torch.equal(answers[i, :steps], alone[0])
        assert not answers[i, steps:].any()
        torch.testing.assert_close(logp[i], alone_logp[0], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("constraint", [None, "hull", "delaunay", "tour"])
@every_variant
def test_one_beam_is_greedy_bit_for_bit(variant: str, constraint: Any) -> None:
    from graphseq.sequence.models.pointer_decoding import beam_search, greedy

    model, p = network(variant).float(), points().float()
    with torch.no_grad():
        options: dict[str, Any] = {"constraint": constraint, "max_steps": 9}
        one = greedy(model.read(p, LENGTHS), **options)
        other = beam_search(model.read(p, LENGTHS), beam=1, **options)
    assert torch.equal(one[0], other[0])
    assert torch.equal(one[1], other[1])


def test_a_wide_beam_finds_the_best_of_all_answers() -> None:
    model, p = network(init_scale=2.0), points(3, 2)
    every = [s for s in itertools.product(range(3), repeat=4) if not any(_resumes(s))]
    answers, logp = model.decode(p, beam=3**4, max_steps=4)
    for i in range(3):
        scores = model.log_prob(p[i].expand(len(every), -1, -1), torch.tensor(every))
        best = every[int(scores.argmax())]
        torch.testing.assert_close(logp[i], scores.max().detach(), rtol=1e-10, atol=1e-10)
        assert tuple(answers[i].tolist()) == best[: answers.shape[1]]
        torch.testing.assert_close(scores.exp().sum().item(), 1.0)


def _resumes(sequence: tuple[int, ...]) -> list[bool]:
    """Where a sequence goes on after its end."""
    return [a == 0 and b != 0 for a, b in itertools.pairwise(sequence)]


def test_equal_scores_go_to_the_lower_index() -> None:
    model, p = network(init_scale=0.0), points(2)
    for beam in (1, 4):
        answers, _ = model.decode(p, beam=beam, constraint="tour")
        assert answers.tolist() == [[1, 2, 3, 4, 5, 1, 0]] * 2


@pytest.mark.parametrize("beam", [1, 4])
@every_variant
def test_tours_visit_every_point_and_close(variant: str, beam: int) -> None:
    answers, logp = network(variant).decode(points(), LENGTHS, beam=beam, constraint="tour")
    for answer, n in zip(answers.tolist(), LENGTHS.tolist(), strict=True):
        assert sorted(answer[:n]) == list(range(1, n + 1))
        assert answer[0] == answer[n] == 1
        assert not any(answer[n + 1 :])
    assert bool(logp.isfinite().all())


@pytest.mark.parametrize("beam", [1, 4])
def test_hulls_are_closed_rings_and_groups_are_triangles(beam: int) -> None:
    model, p = network(init_scale=3.0), points()
    hulls, _ = model.decode(p, LENGTHS, beam=beam, constraint="hull")
    for hull, n in zip(hulls.tolist(), LENGTHS.tolist(), strict=True):
        ring = hull[: hull.index(0)]
        assert ring[0] == ring[-1]
        assert len(set(ring)) == len(ring) - 1 >= min(3, n)
        assert max(ring) <= n
    groups, _ = model.decode(p, LENGTHS, beam=beam, constraint="delaunay", max_steps=40)
    for row, n in zip(groups.tolist(), LENGTHS.tolist(), strict=True):
        tokens = row[: row.index(0)] if 0 in row else row[:39]
        assert len(tokens) % 3 == 0
        assert bool(tokens) == (n >= 3)
        for a, b, c in zip(tokens[::3], tokens[1::3], tokens[2::3], strict=True):
            assert 1 <= a < b < c <= n


def test_an_answer_that_breaks_the_form_is_impossible() -> None:
    model, p = network(), points(2)
    tours = torch.tensor([[1, 3, 3, 2, 4, 5, 1, 0], [2, 1, 3, 4, 5, 2, 0, 0]])
    assert bool(model.log_prob(p, tours).isfinite().all())
    assert model.log_prob(p, tours, constraint="tour").tolist() == [-torch.inf, -torch.inf]


def test_the_attention_layer_is_permutation_equivariant() -> None:
    torch.manual_seed(0)
    layer = PointerAttention(6, clip=2.0).double()
    d, e = torch.randn(2, 3, 6).double(), torch.randn(2, 5, 6).double()
    order, mask = torch.tensor([3, 0, 4, 1, 2]), torch.arange(5).expand(2, -1) != 1
    moved = layer(d, e[:, order], mask[:, order])
    torch.testing.assert_close(moved, layer(d, e, mask)[..., order])
    with pytest.raises(ValueError, match="PointerAttention: clip is 0"):
        PointerAttention(6, clip=0)


@every_variant
def test_files(variant: str, tmp_path: Path) -> None:
    model, p = network(variant).float(), points().float()
    save(model, tmp_path)
    for one, other in zip(model.decode(p, beam=2), load(tmp_path).decode(p, beam=2), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"head": "copy"}, "head is 'copy'"),
        ({"head": "seq2seq"}, "max_nodes is None"),
        ({"max_nodes": 5}, "max_nodes is 5"),
        ({"glimpses": -1}, "glimpses is -1"),
        ({"head": "seq2seq", "max_nodes": 5, "clip": 1.0}, "clip is 1.0"),
        ({"bidirectional": True, "hidden_channels": 5}, "hidden_channels is 5"),
    ],
)
def test_arguments_are_refused_by_name(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"PointerNetwork: .*{message}"):
        PointerNetwork(**arguments)


def test_inputs_are_refused_by_name() -> None:
    model, p, targets = network(), points(2), torch.ones(2, 3, dtype=torch.int64)
    with pytest.raises(ValueError, match="points have shape"):
        model(p[..., :1], targets)
    with pytest.raises(TypeError, match="targets have dtype"):
        model(p, targets.float())
    with pytest.raises(ValueError, match="targets have shape"):
        model(p, targets[:1])
    with pytest.raises(ValueError, match="at least one step"):
        model.log_prob(p, targets[:, :0])
    with pytest.raises(ValueError, match="targets reach 9"):
        model(p, 9 * targets)
    with pytest.raises(ValueError, match="lengths must lie in"):
        model(p, targets, torch.tensor([6, 1]))
    with pytest.raises(ValueError, match="lengths hold a 0"):
        model(p, targets, torch.tensor([5, 0]))
    with pytest.raises(ValueError, match="points have 7 nodes"):
        network("seq2seq")(points(2, 7), targets)
    with pytest.raises(ValueError, match="decode: beam is 0"):
        model.decode(p, beam=0)
    with pytest.raises(ValueError, match="constraint is 'ring'"):
        model.decode(p, constraint="ring")
