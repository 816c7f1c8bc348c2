"""Graph layers."""

from graphseq.graph.nn.adaptive_propagation import AdaptivePropagation as AdaptivePropagation
from graphseq.graph.nn.feature_linear import FeatureLinear as FeatureLinear
