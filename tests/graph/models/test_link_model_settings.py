"""What may be set on link models, how they explain with samples, and what bounds their memory."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from graphseq import load, save
from graphseq.graph.csr import CSR
from graphseq.graph.models import GAE, NCN, NCNC
from graphseq.graph.models.ncn import completion, predictor
from graphseq.graph.nn.graph_encoder import GraphEncoder

N = 30


def setting() -> tuple[Tensor, Tensor, Tensor]:
    """Features, edges and pairs."""
    generator = torch.Generator().manual_seed(0)
    edges = torch.randint(N, (2, 150), generator=generator)
    return torch.rand(N, 6, generator=generator), edges, torch.randint(N, (2, 40))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "conv",
    ["gcn", "sage", "gin", "max", "pure_gcn", "pure_mean", "pure_sum", "pure_max", "none"],
)
def test_half_precision_weights(conv: str, dtype: torch.dtype) -> None:
    x, edges, pairs = setting()
    model = NCNC(6, 8, conv=conv).to(dtype).train()  # type: ignore[arg-type]
    loss = model(x.to(dtype), edges, pairs, torch.zeros(pairs.size(1)))
    loss.backward()
    assert loss.isfinite()
    logits = model.eval()(x.to(dtype), edges, pairs)
    expected = model.float()(x, edges, pairs)
    torch.testing.assert_close(logits.float(), expected, rtol=0.1, atol=0.1)


def test_the_calibration_may_be_changed_and_is_saved(tmp_path: Path) -> None:
    x, edges, pairs = setting()
    model = NCNC(6, 8, alpha=0.3).eval()
    before = model(x, edges, pairs)
    model.alpha, model.prior = 1.0, 3.0
    assert not torch.allclose(model(x, edges, pairs), before)
    save(model, tmp_path)
    again = load(tmp_path).eval()
    assert (again.alpha, again.prior) == (1.0, 3.0)
    assert torch.equal(again(x, edges, pairs), model(x, edges, pairs))
    model.depth = 0
    assert torch.equal(model(x, edges, pairs), again(x, edges, pairs, depth=0))


def test_what_is_built_in_cannot_be_changed() -> None:
    with pytest.raises(AttributeError, match="NCN: dropout is fixed once the model exists"):
        NCN(6, 8).dropout = 0.5
    assert NCN(6, 8, dropout=0.2).dropout == 0.2


def test_samples_in_evaluation_repeat_and_explanations_have_none() -> None:
    torch.manual_seed(0)  # one in fifteen initial weights has units that no neighbour reaches
    x, edges, _ = setting()
    star = torch.stack([torch.zeros(20, dtype=torch.long), torch.arange(1, 21)])
    edges, pair = torch.cat([edges, star], 1), torch.tensor([[0], [25]])
    sampled, exact = NCNC(6, 8, alpha=1.0, eval_samples=3).eval(), NCNC(6, 8, alpha=1.0).eval()
    exact.load_state_dict(sampled.state_dict())
    assert torch.equal(sampled(x, edges, pair), sampled(x, edges, pair))
    assert not torch.allclose(sampled(x, edges, pair), exact(x, edges, pair))
    assert sampled.explain(x, edges, 0, 25) == exact.explain(x, edges, 0, 25)
    assert sampled.eval_samples == 3


def test_a_count_is_explained() -> None:
    x, edges, _ = setting()
    edges = torch.cat([edges, torch.tensor([[0, 1], [2, 2]])], dim=1)
    model = GAE(6, 8, count_common=True).eval()
    explanation = model.explain(x, edges, 0, 1)
    assert 2 in {neighbor.node for neighbor in explanation.neighbors}
    assert explanation.logit == pytest.approx(
        float(model(x, edges, torch.tensor([[0], [1]])).detach())
    )
    (part,) = {round(n.contribution, 5) for n in explanation.neighbors}
    assert part != 0.0


def test_hubs_do_not_swell_a_portion(monkeypatch: pytest.MonkeyPatch) -> None:
    """The few pairs at a hub come in many portions, whatever the mean degree of a call is."""
    spokes = torch.arange(1, 400)
    star = torch.stack([torch.zeros_like(spokes), spokes])
    path = torch.arange(400, 800)
    edges = torch.cat([star, torch.stack([path[:-1], path[1:]])], dim=1)
    pairs = torch.cat(
        [
            torch.stack([torch.zeros(30, dtype=torch.long), torch.arange(400, 430)]),
            torch.stack([path[:300], path[100:]]),
        ],
        dim=1,
    )
    model, x = NCNC(6, 8).eval(), torch.rand(800, 6)
    with torch.no_grad():
        expected = model(x, edges, pairs)
        sizes: list[int] = []
        inner = completion.CompletionPredictor.inner_logits

        def spy(self: object, lifted: Tensor, graph: object, pairs: Tensor, depth: int) -> Tensor:
            sizes.append(pairs.size(1))
            return inner(self, lifted, graph, pairs, depth)  # type: ignore[arg-type]

        monkeypatch.setattr(completion.CompletionPredictor, "inner_logits", spy)
        monkeypatch.setattr(completion, "_INNER", 1000)
        torch.testing.assert_close(model(x, edges, pairs), expected)
    assert len(sizes) > 10
    assert max(sizes) <= 1000


@pytest.mark.parametrize("number", [0, 15, 16, 40])
def test_pairs_are_divided_into_portions_some_at_a_time(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    x, edges, pairs = setting()
    pairs, model = pairs[:, :number], NCNC(6, 8).eval()
    sizes: list[int] = []
    portions = completion.CompletionPredictor.portions

    def spy(self: object, graph: CSR, pairs: Tensor, depth: int, chunk: int) -> int | list[int]:
        if depth == 1:  # not the inner pairs that completion scores
            sizes.append(pairs.size(1))
        return portions(self, graph, pairs, depth, chunk)  # type: ignore[arg-type]

    with torch.no_grad():
        expected = model(x, edges, pairs)
        monkeypatch.setattr(completion.CompletionPredictor, "portions", spy)
        monkeypatch.setattr(predictor, "_MANY", 16)
        torch.testing.assert_close(model(x, edges, pairs), expected)
    assert sum(sizes) == number
    assert max(sizes) <= 16


@pytest.mark.parametrize("kind", [NCN, NCNC, GAE])
def test_the_encoder_is_built_once_and_first(kind: type) -> None:
    torch.manual_seed(0)
    model = kind(6, 8)
    torch.manual_seed(0)
    expected = GraphEncoder(6, 8, conv="pure_gcn", layer_norm=True, jumping_knowledge=True)
    for ours, theirs in zip(model.encoder.parameters(), expected.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    head = torch.nn.Linear(8, 8)  # what comes next starts from the same state of the generator
    assert torch.equal(model.predictor.head.pair.first.weight, head.weight)


@pytest.mark.parametrize(
    ("name", "value"),
    [("scale", float("nan")), ("alpha", -1.0), ("prior", -0.1), ("eval_samples", 0)],
)
def test_settings_are_checked_when_they_change(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"NCNC: {name} is {value}; pass"):
        setattr(NCNC(6, 8), name, value)
