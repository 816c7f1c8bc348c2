"""Associative recall (MQAR): which mixers look up what they have read, at equal width.

A sequence shows K pairs of a key and a value and then asks for the values of the keys, one at a
time. The model is that of the comparison: two layers, no MLP, width d, state of n numbers per
channel, tied head. The paper's grid (four lengths, d and n from 32 to 512, four learning rates) is
``mqar_grid.py``; here are its smallest cells, which a CPU trains in minutes.
"""

from functools import partial
from typing import Any

from graphseq import Experiment, SequenceModel
from graphseq.sequence.data import mqar
from graphseq.sequence.nn import (
    RGLRU,
    S6,
    SSD,
    AarenAttention,
    LinearAttention,
    NormalizedAttention,
    QuasiLSTM,
    SoftmaxAttention,
)
from graphseq.sequence.tasks import SequenceLabelling

# name, mixer of width d with n state numbers per channel, learned positions, learning rate
MIXERS: dict[str, tuple[Any, dict[str, Any], bool, float]] = {
    "attention": (SoftmaxAttention, {"key_channels": 64, "dropout": 0.1}, True, 3e-3),
    "linear": (LinearAttention, {"key_channels": 64}, True, 2.15e-3),
    "normalised": (NormalizedAttention, {"key_channels": 64}, True, 2.15e-3),
    "aaren": (AarenAttention, {"num_heads": 1}, True, 2.15e-3),
    "s6": (S6, {"state_size": 64}, False, 1e-2),
    "ssd": (SSD, {"state_size": 64}, False, 1e-2),
    "qlstm": (QuasiLSTM, {}, True, 2.15e-3),
    "qlstm_reversed": (QuasiLSTM, {"reversed_sigmoid": True}, True, 2.15e-3),
    "rglru": (RGLRU, {}, False, 2.15e-3),
}
LENGTHS = {  # prefix of the name -> length, pairs, batch size, mixers
    "mqar": (64, 4, 512, tuple(MIXERS)),
    "mqar_128": (128, 8, 256, ("attention", "linear", "ssd")),
}


def recall(prefix: str, name: str) -> Experiment:
    """One mixer at one length."""
    length, num_pairs, batch_size, _ = LENGTHS[prefix]
    mixer, arguments, positions, lr = MIXERS[name]
    return Experiment(
        name=f"{prefix}_{name}",
        data=partial(mqar, length=length, num_pairs=num_pairs, seed=0),
        model=partial(
            SequenceModel,
            mixer=partial(mixer, **arguments),
            hidden_channels=64,
            num_layers=2,
            input_dropout=0.1,
            max_length=length if positions else None,
            tie_weights=True,
            init="normal",
        ),
        task=partial(
            SequenceLabelling,
            lr=lr,
            weight_decay=0.1,
            schedule="cosine",
            batch_size=batch_size // 2 if mixer is QuasiLSTM else batch_size,  # as in the paper
            epochs=16,
            solved=0.99,
        ),
        seeds=range(1),
        notes="the paper's protocol has up to 64 epochs and takes the best of four learning rates",
    )


experiments = [recall(prefix, name) for prefix, cell in LENGTHS.items() for name in cell[3]]
