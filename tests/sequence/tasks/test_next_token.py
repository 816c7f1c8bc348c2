"""Language modelling: every token is scored once, and the state is carried, kept and reset."""

import math
from functools import partial
from pathlib import Path

import pytest
import torch

from graphseq import Budget, Recurrent, SequenceModel, fit
from graphseq.sequence.data import TokenStream
from graphseq.sequence.nn import SSD, SoftmaxAttention
from graphseq.sequence.tasks import NextTokenPrediction

V = 5


def text(length: int = 203) -> TokenStream:
    """Tokens that repeat with a period of 7, so that there is something to learn."""
    period = torch.tensor([0, 1, 2, 3, 4, 2, 1])
    tokens = period.repeat(length // 7 + 1)
    return TokenStream(
        train=tokens[:length],
        val=tokens[3 : 3 + 61],
        test=tokens[5 : 5 + 64],
        vocabulary=tuple("abcde"),
    )


def model(kind: str = "lstm") -> torch.nn.Module:
    torch.manual_seed(0)
    if kind == "lstm":
        return Recurrent(V, num_tokens=V, hidden_channels=16)
    if kind == "adaptive":
        return Recurrent(V, num_tokens=V, hidden_channels=16, cutoffs=(3,))
    mixer = {"ssd": partial(SSD, state_size=4), "attention": partial(SoftmaxAttention)}[kind]
    return SequenceModel(V, num_tokens=V, mixer=mixer, hidden_channels=16)


def task(kind: str = "lstm", **arguments: object) -> NextTokenPrediction:
    settings = {"num_streams": 4, "chunk_length": 10, "lr": 0.02, **arguments}
    return NextTokenPrediction(model(kind), text(), **settings)


@pytest.mark.parametrize("kind", ["lstm", "ssd", "adaptive"])
def test_it_learns_a_periodic_text(kind: str) -> None:
    result = fit(task(kind), Budget(epochs=25), progress=False)
    assert result.metrics["test/ppl"] < 1.5
    assert result.metrics["test/tokens"] == 63
    assert result.metrics["test/ppl"] == pytest.approx(math.exp(result.metrics["test/loss"]))


@pytest.mark.parametrize("kind", ["lstm", "ssd"])
@pytest.mark.parametrize("chunk_length", [1, 7, 10, 100])
def test_the_perplexity_does_not_depend_on_the_chunks(kind: str, chunk_length: int) -> None:
    """With a carried state, chunks are the whole stream."""
    done = task(kind, chunk_length=chunk_length).double()
    result = fit(done, Budget(epochs=0), progress=False)
    tokens, targets = text().streams("test", 4)
    with torch.no_grad():
        nll, _ = model(kind).double()(tokens, asked=targets >= 0, targets=targets)
    assert result.metrics["test/loss"] == pytest.approx(nll.mean().item(), rel=1e-6)


def test_without_a_carried_state_a_chunk_stands_alone() -> None:
    result = fit(task("attention", carry_state=False), Budget(epochs=0), progress=False)
    tokens, targets = text().streams("test", 4)
    chunks = zip(tokens.split(10, 1), targets.split(10, 1), strict=True)
    plain = model("attention").eval()
    with torch.no_grad():
        nll = torch.cat([plain(x, asked=y >= 0, targets=y)[0] for x, y in chunks])
    assert result.metrics["test/loss"] == pytest.approx(nll.mean().item(), rel=1e-5)


def test_the_state_is_carried_reset_and_detached() -> None:
    own = task()
    stage, shard = own.stages()[0], own.shard
    own.train()
    for epoch in (0, 1):
        for i, batch in enumerate(own.batches("train", stage, epoch, shard)):
            assert batch.first == (i == 0)
            before = own.state
            (loss,) = list(own.losses(batch, stage))
            started = None if batch.first else before
            expected, _ = own.model(
                batch.tokens, started, asked=batch.targets >= 0, targets=batch.targets
            )
            torch.testing.assert_close(loss.value, expected.mean())
            assert not any(t.requires_grad for t in own.state.tensors.values())


def test_epochs_of_some_chunks_read_on() -> None:
    own = task(steps_per_epoch=2)
    stage, shard = own.stages()[0], own.shard
    own.train()
    starts = [
        [int(b.tokens.data_ptr()) for b in own.batches("train", stage, e, shard)] for e in range(4)
    ]
    assert all(len(epoch) == 2 for epoch in starts)
    whole = task()
    whole.train()
    every = list(whole.batches("train", stage, 0, shard))
    assert len(every) == 5
    first = [b.first for e in range(4) for b in own.batches("train", stage, e, shard)]
    assert first == [True, False, False, False, False, True, False, False]


class Interrupt(Exception):
    """Ends a run in the middle."""


def test_resumed_is_uninterrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between two chunks of the second epoch: the carried state is in the checkpoint."""
    budget = Budget(epochs=3, checkpoint_seconds=0)
    expected = fit(task(), budget, out=tmp_path / "whole", progress=False)

    steps, losses = 0, NextTokenPrediction.losses

    def dying(self, batch, stage):
        nonlocal steps
        steps += 1
        if steps == 8:
            raise Interrupt
        yield from losses(self, batch, stage)

    with monkeypatch.context() as patch:
        patch.setattr(NextTokenPrediction, "losses", dying)
        with pytest.raises(Interrupt):
            fit(task(), budget, out=tmp_path / "dead", progress=False)
    result = fit(task(), budget, out=tmp_path / "dead", resume=True, progress=False)
    assert result.metrics == expected.metrics


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"num_streams": 0}, "NextTokenPrediction: num_streams is 0; pass 1 or more"),
        ({"chunk_length": 0}, "chunk_length is 0"),
        ({"steps_per_epoch": 0}, "steps_per_epoch is 0"),
    ],
)
def test_wrong_arguments(arguments: dict[str, object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        task(**arguments)


def test_a_model_that_reads_both_ways_is_refused() -> None:
    both = Recurrent(V, num_tokens=V, hidden_channels=8, bidirectional=True)
    with pytest.raises(ValueError, match="Recurrent does not stream, so it hears the tokens"):
        NextTokenPrediction(both, text())


def test_adaptive_softmax_in_half_precision() -> None:
    result = fit(task("adaptive"), Budget(epochs=1), precision="bf16-mixed", progress=False)
    assert math.isfinite(result.metrics["test/ppl"])
