"""Graph and sequence learning on PyTorch and PyTorch Geometric, with one training loop."""

import os

# torch and numba each keep a pool of OpenMP threads. Threads that spin while they wait cost a Cora
# epoch on a busy machine a factor of ten and more; threads that sleep at once cost every parallel
# loop 50 to 100 us. So they spin for some microseconds (GNU OpenMP counts rounds), then sleep. It
# counts if torch is not loaded yet; a policy that the user has set stays.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")

from graphseq import graph as graph
from graphseq import sequence as sequence
from graphseq import training as training
from graphseq.graph.models import DAGNN as DAGNN
from graphseq.graph.models import NCN as NCN
from graphseq.graph.models import NCNC as NCNC
from graphseq.graph.models import ForwardGNN as ForwardGNN
from graphseq.sequence.models import Aaren as Aaren
from graphseq.sequence.models import Recurrent as Recurrent
from graphseq.sequence.models import SequenceModel as SequenceModel
from graphseq.training import Budget as Budget
from graphseq.training import Claim as Claim
from graphseq.training import Experiment as Experiment
from graphseq.training import Loss as Loss
from graphseq.training import Stage as Stage
from graphseq.training import Task as Task
from graphseq.training import evaluate as evaluate
from graphseq.training import fit as fit
from graphseq.training import load as load
from graphseq.training import run as run
from graphseq.training import save as save

__version__ = "0.1.0"
