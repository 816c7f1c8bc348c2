"""Functions on tensors, each with a naive twin."""

from graphseq.graph.ops.dropout import dropout as dropout
from graphseq.graph.ops.norm_linear import norm_linear as norm_linear
from graphseq.graph.ops.propagation import adaptive_propagation as adaptive_propagation
from graphseq.graph.ops.scatter import scatter as scatter
from graphseq.graph.ops.segment import segment as segment
from graphseq.graph.ops.sparse_linear import sparse_linear as sparse_linear
from graphseq.graph.ops.spmm import spmm as spmm
