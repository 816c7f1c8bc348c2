"""Node features as models take them: sparse or dense, rows scaled to sum 1 or left alone."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from graphseq.graph.csr import CSR

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


def as_features(matrix: "csr_matrix", *, normalize: bool, sparse: bool) -> Tensor | CSR:
    """Turn a scipy matrix of features into float32 features.

    Args:
        matrix: One row per node, ``[N, F]``.
        normalize: Divide each row by the sum of its absolute values; rows of zeros stay zero.
        sparse: Return a :class:`~graphseq.graph.csr.CSR` in place of a dense tensor.

    Returns:
        The features ``[N, F]``. Stored zeros of ``matrix`` are not kept.
    """
    matrix = matrix.astype(np.float64, copy=True).tocsr()
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    if normalize:
        # In float64 and rounded once: the result does not depend on the order of the entries.
        sums = np.asarray(abs(matrix).sum(axis=1)).reshape(-1)  # [N]
        matrix.data /= np.repeat(sums, np.diff(matrix.indptr))  # rows of zeros have no entries
    matrix = matrix.astype(np.float32)
    return CSR.from_scipy(matrix) if sparse else torch.from_numpy(matrix.toarray())
