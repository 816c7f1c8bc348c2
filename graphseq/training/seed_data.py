"""The data of one seed after the other, with no more than one dataset in memory."""

import gc

from graphseq.training import rng
from graphseq.training.experiment import Experiment, HasDims


class SeedData:
    """Loads an experiment's data: once for all seeds, or anew for each where they follow the seed.

    Args:
        experiment: whose data.
    """

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self._data: HasDims | None = None

    def of(self, seed: int) -> HasDims:
        """The data of ``seed``; those of the seed before are forgotten.

        Raises:
            TypeError: what the experiment's ``data`` returns has no ``dims``.
        """
        follows = self._experiment.data_follows_seed
        if self._data is not None:  # there was a seed before
            if follows:
                self._data = None  # before the next come: there may be room for one dataset only
            # A task that refers to itself, by a bound method it keeps for example, is garbage now,
            # but Python may let a few large objects lie for hours.
            gc.collect()
        if self._data is None:
            with rng.fork(seed if follows else 0):
                self._data = self._experiment.load(seed)
        return self._data
