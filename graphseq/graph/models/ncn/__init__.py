"""NCN, NCNC and the auto-encoders that they grew from; see :mod:`graphseq.graph.models.ncn.ncn`."""

from graphseq.graph.models.ncn.gae import GAE as GAE
from graphseq.graph.models.ncn.ncn import NCN as NCN
from graphseq.graph.models.ncn.ncnc import NCNC as NCNC
