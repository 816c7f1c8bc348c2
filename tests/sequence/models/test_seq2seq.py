"""Encoder and decoder: teacher forcing and answering alone agree."""

import pytest
import torch

from graphseq.sequence.models import Seq2Seq
from graphseq.sequence.nn import GRU, Bidirectional, QuasiLSTM

V = 6


def pair() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    source = torch.randint(1, V, (3, 5), generator=generator)
    return source, torch.randint(0, V, (3, 4), generator=generator), torch.tensor([5, 3, 1])


@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize("mixer", [GRU, QuasiLSTM])
@pytest.mark.parametrize("reverse_source", [True, False])
def test_generating_is_the_argmax_of_teacher_forcing(
    attention: bool, mixer: type, reverse_source: bool
) -> None:
    torch.manual_seed(0)
    model = Seq2Seq(
        V, mixer=mixer, hidden_channels=8, attention=attention, reverse_source=reverse_source
    ).double()
    source, _, lengths = pair()
    answer = model.generate(source, lengths, 7)
    logits = model(source, answer, lengths)
    ended = (answer == 0).cumsum(1) - (answer == 0).long() > 0
    assert torch.equal(logits.argmax(-1)[~ended], answer[~ended])
    assert bool((answer[ended] == 0).all())


@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize("reverse_source", [True, False])
def test_padding_of_the_source_changes_nothing(attention: bool, reverse_source: bool) -> None:
    torch.manual_seed(0)
    model = Seq2Seq(V, hidden_channels=8, attention=attention, reverse_source=reverse_source)
    source, target, lengths = pair()
    logits = model(source, target, lengths)
    for i, length in enumerate(lengths.tolist()):
        alone = model(source[i : i + 1, :length], target[i : i + 1])
        torch.testing.assert_close(logits[i], alone[0], atol=1e-5, rtol=1e-5)


def test_a_target_hears_only_those_before_it() -> None:
    torch.manual_seed(0)
    model = Seq2Seq(V, hidden_channels=8).double()
    source, target, _ = pair()
    other = target.clone()
    other[:, 2] = (other[:, 2] + 1) % V
    a, b = model(source, target), model(source, other)
    assert torch.equal(a[:, :3], b[:, :3])
    assert not torch.allclose(a[:, 3], b[:, 3])


def test_a_decoder_must_stream() -> None:
    with pytest.raises(ValueError, match="Seq2Seq: Bidirectional does not stream"):
        Seq2Seq(V, mixer=lambda width: Bidirectional(width, mixer=GRU))
