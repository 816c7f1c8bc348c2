"""Edge lists become simple graphs: against sets of pairs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphseq.graph.data.edges import simple_edges

PAIRS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=40)


@given(pairs=PAIRS, undirected=st.booleans(), self_loops=st.booleans())
def test_equals_the_set_of_pairs(pairs, undirected, self_loops):
    ends = np.array(pairs, np.int32).reshape(-1, 2)
    found = simple_edges(ends[:, 0], ends[:, 1], 7, undirected=undirected, self_loops=self_loops)
    expected = {pair for pair in pairs if self_loops or pair[0] != pair[1]}
    if undirected:
        expected |= {(b, a) for a, b in expected}
    by_target = sorted(expected, key=lambda pair: (pair[1], pair[0]))
    assert [tuple(pair) for pair in found.T.tolist()] == by_target
    assert found.shape == (2, len(expected))


@pytest.mark.parametrize(("bad", "shown"), [(7, "joins 0 and 7"), (-1, "joins 0 and -1")])
def test_an_end_out_of_range_names_the_edge(bad, shown):
    with pytest.raises(ValueError, match=f"edge number 2 {shown}"):
        simple_edges(np.array([0, 1, 0, 9]), np.array([1, 2, bad, 9]), 7)
