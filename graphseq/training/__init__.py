"""The hall: one training loop for both wings.

A :class:`Task` yields losses, :func:`fit` steps each of them; see :mod:`graphseq.training.task`
and :mod:`graphseq.training.loop`.
"""

from graphseq.training.experiment import Claim, Experiment
from graphseq.training.fit import fit
from graphseq.training.persistence import load, save
from graphseq.training.progress import FitResult
from graphseq.training.run import run
from graphseq.training.scoring import evaluate
from graphseq.training.stage import Budget, Stage
from graphseq.training.stopping import Reached, WindowMean
from graphseq.training.task import Loss, PartlyUsed, Shard, Task

__all__ = [
    "Budget",
    "Claim",
    "Experiment",
    "FitResult",
    "Loss",
    "PartlyUsed",
    "Reached",
    "Shard",
    "Stage",
    "Task",
    "WindowMean",
    "evaluate",
    "fit",
    "load",
    "run",
    "save",
]
