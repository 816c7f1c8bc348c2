"""Saying a sequence backwards, with and without attention over what was read."""

from functools import partial

from graphseq import Experiment
from graphseq.sequence.data import reversal
from graphseq.sequence.models import Seq2Seq
from graphseq.sequence.tasks import SequenceToSequence

experiments = [
    Experiment(
        name=f"reversal_{name}",
        data=partial(reversal),
        model=partial(Seq2Seq, hidden_channels=64, attention=attention),
        task=partial(SequenceToSequence, lr=3e-3, batch_size=100, epochs=20),
        seeds=range(3),
    )
    for name, attention in (("seq2seq", False), ("attention", True))
]
