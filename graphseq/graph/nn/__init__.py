"""Graph layers."""

from graphseq.graph.nn.adaptive_propagation import AdaptivePropagation as AdaptivePropagation
from graphseq.graph.nn.feature_linear import FeatureLinear as FeatureLinear
from graphseq.graph.nn.graph_convs import GraphConv as GraphConv
from graphseq.graph.nn.graph_encoder import GraphEncoder as GraphEncoder
from graphseq.graph.nn.node_input import NodeEmbedding as NodeEmbedding
from graphseq.graph.nn.pair_head import PairHead as PairHead
