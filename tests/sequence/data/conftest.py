"""What the tests of the datasets share."""

import random

import numpy as np
import pytest
import torch


@pytest.fixture
def generators_untouched():
    """Fails if the test leaves any global random state changed."""

    def states():
        return random.getstate(), repr(np.random.get_state()), torch.get_rng_state().tolist()  # noqa: NPY002

    before = states()
    yield
    assert states() == before
