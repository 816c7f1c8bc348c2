"""Functions on tensors, each with a naive twin."""

from graphseq.graph.ops.dropout import dropout as dropout
from graphseq.graph.ops.graph_attention import graph_attention as graph_attention
from graphseq.graph.ops.link_removal import LinkRemoval as LinkRemoval
from graphseq.graph.ops.membership import is_edge as is_edge
from graphseq.graph.ops.negatives import sample_non_edges as sample_non_edges
from graphseq.graph.ops.neighbors import common_neighbors as common_neighbors
from graphseq.graph.ops.neighbors import one_sided_neighbors as one_sided_neighbors
from graphseq.graph.ops.norm_linear import norm_linear as norm_linear
from graphseq.graph.ops.one_vs_many import count_common_many as count_common_many
from graphseq.graph.ops.one_vs_many import pool_common_many as pool_common_many
from graphseq.graph.ops.pooling import count_common as count_common
from graphseq.graph.ops.pooling import pool_common as pool_common
from graphseq.graph.ops.propagation import adaptive_propagation as adaptive_propagation
from graphseq.graph.ops.row_sampling import sample_rows as sample_rows
from graphseq.graph.ops.sampled_product import sampled_product as sampled_product
from graphseq.graph.ops.scatter import scatter as scatter
from graphseq.graph.ops.segment import segment as segment
from graphseq.graph.ops.shared_goodness import shared_goodness as shared_goodness
from graphseq.graph.ops.sparse_linear import sparse_linear as sparse_linear
from graphseq.graph.ops.spmm import spmm as spmm
