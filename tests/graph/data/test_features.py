"""Features sparse and dense are the same numbers, and rows sum to 1 or stay zero."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix, random_array

from graphseq.graph.csr import CSR
from graphseq.graph.data.features import as_features


@pytest.mark.parametrize("normalize", [False, True])
def test_sparse_equals_dense(normalize, dense):
    matrix = csr_matrix(random_array((30, 12), density=0.2, rng=np.random.default_rng(0)))
    sparse_x = as_features(matrix, normalize=normalize, sparse=True)
    dense_x = as_features(matrix, normalize=normalize, sparse=False)
    assert isinstance(sparse_x, CSR)
    assert sparse_x.value.dtype == dense_x.dtype == torch.float32
    assert torch.equal(dense(sparse_x), dense_x)


def test_rows_are_scaled_to_sum_one_and_zero_rows_stay():
    x = np.array([[1, 3, 0], [0, 0, 0], [-1, 0, 1], [0.1, 0, 0]])
    scaled = as_features(csr_matrix(x), normalize=True, sparse=False)
    expected = torch.tensor([[0.25, 0.75, 0], [0, 0, 0], [-0.5, 0, 0.5], [1, 0, 0]])
    assert torch.equal(scaled, expected)


def test_the_caller_keeps_its_matrix_and_stored_zeros_go():
    matrix = csr_matrix((np.array([2.0, 0.0]), np.array([1, 0]), np.array([0, 2])), shape=(1, 2))
    x = as_features(matrix, normalize=True, sparse=True)
    assert x.nnz == 1
    assert matrix.data.tolist() == [2.0, 0.0]
    assert matrix.indices.tolist() == [1, 0]
