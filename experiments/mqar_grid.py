"""The whole grid of the comparison on associative recall, for a GPU.

Four lengths, widths d from 64 to 512, states n from 32 to 256 and four learning rates for each
mixer: ``graphseq train mqar_grid_ssd --device cuda`` trains all 256 cells (with ``--resume``,
those that are not finished), and
``graphseq train mqar_grid_ssd-length64-hidden_channels64-state_size64-lr0.01`` one of them. The
paper takes the best of the four rates.
"""

from functools import partial
from typing import Any

from graphseq import Experiment, SequenceModel
from graphseq.sequence.data import mqar
from graphseq.sequence.nn import (
    S6,
    SSD,
    LinearAttention,
    NormalizedAttention,
    QuasiLSTM,
    SoftmaxAttention,
)
from graphseq.sequence.tasks import SequenceLabelling

LENGTHS = ((64, 4, 512), (128, 8, 256), (256, 16, 128), (512, 64, 64))  # with pairs, batch size
WIDTHS = (64, 128, 256, 512)
STATES = (32, 64, 128, 256)
RATES = (1e-4, 4.64e-4, 2.15e-3, 1e-2)

# name, mixer, the setting that is its state size n (a recurrence with one number per channel has
# none), learned positions
MIXERS: list[tuple[str, Any, str | None, bool]] = [
    ("attention", partial(SoftmaxAttention, key_channels=64, dropout=0.1), "key_channels", True),
    ("linear", partial(LinearAttention, key_channels=64), "key_channels", True),
    ("normalised", partial(NormalizedAttention, key_channels=64), "key_channels", True),
    ("s6", partial(S6, state_size=64), "state_size", False),
    ("ssd", partial(SSD, state_size=64), "state_size", False),
    ("qlstm", partial(QuasiLSTM), None, True),
    ("qlstm_reversed", partial(QuasiLSTM, reversed_sigmoid=True), None, True),
]


def grid(name: str, mixer: Any, state: str | None, positions: bool) -> Experiment:
    """All cells of one mixer; the quasi-LSTM has half the batch, as in the paper."""
    half = 2 if state is None else 1
    lengths = [
        {
            "data.length": length,
            "data.num_pairs": num_pairs,
            "task.batch_size": batch_size // half,
            **({"model.max_length": length} if positions else {}),
        }
        for length, num_pairs, batch_size in LENGTHS
    ]
    states = [[{f"model.mixer.{state}": size} for size in STATES]] if state else []
    return Experiment(
        name=f"mqar_grid_{name}",
        data=partial(mqar, length=64, num_pairs=4, seed=0),
        model=partial(
            SequenceModel,
            mixer=mixer,
            hidden_channels=64,
            num_layers=2,
            input_dropout=0.1,
            max_length=64 if positions else None,
            tie_weights=True,
            init="normal",
        ),
        task=partial(
            SequenceLabelling,
            lr=1e-3,
            weight_decay=0.1,
            schedule="cosine",
            batch_size=512 // half,
            max_norm=None,
            epochs=64,
            solved=0.99,
        ),
        seeds=range(123, 124),
        study=True,
        grid=(
            lengths,
            [{"model.hidden_channels": width} for width in WIDTHS],
            *states,
            [{"task.lr": rate} for rate in RATES],
        ),
    )


experiments = [grid(*row) for row in MIXERS]
