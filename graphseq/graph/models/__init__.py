"""Graph models, one paper per file."""

from graphseq.graph.models.baselines import APPNP as APPNP
from graphseq.graph.models.baselines import GAT as GAT
from graphseq.graph.models.baselines import GCN as GCN
from graphseq.graph.models.baselines import MLP as MLP
from graphseq.graph.models.baselines import SGC as SGC
from graphseq.graph.models.dagnn import DAGNN as DAGNN
