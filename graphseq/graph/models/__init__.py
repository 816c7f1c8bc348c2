"""Graph models, one paper per file."""

from graphseq.graph.models.baselines import APPNP as APPNP
from graphseq.graph.models.baselines import GAT as GAT
from graphseq.graph.models.baselines import GCN as GCN
from graphseq.graph.models.baselines import MLP as MLP
from graphseq.graph.models.baselines import SGC as SGC
from graphseq.graph.models.dagnn import DAGNN as DAGNN
from graphseq.graph.models.heuristics import AdamicAdar as AdamicAdar
from graphseq.graph.models.heuristics import CommonNeighbors as CommonNeighbors
from graphseq.graph.models.heuristics import Katz as Katz
from graphseq.graph.models.heuristics import PersonalizedPageRank as PersonalizedPageRank
from graphseq.graph.models.heuristics import ResourceAllocation as ResourceAllocation
from graphseq.graph.models.ncn import GAE as GAE
from graphseq.graph.models.ncn import NCN as NCN
from graphseq.graph.models.ncn import NCNC as NCNC
