"""Mixers as dynamical systems: one form for attention, state space models and recurrent networks.

(Sieber, Alonso, Didier, Zeilinger and Orvieto, NeurIPS 2024, arXiv 2405.15731.)
"""

from graphseq.sequence.dynamics import figures as figures
from graphseq.sequence.dynamics import theorems as theorems
from graphseq.sequence.dynamics.measures import Transition as Transition
from graphseq.sequence.dynamics.measures import eigenvalues as eigenvalues
from graphseq.sequence.dynamics.measures import memory as memory
from graphseq.sequence.dynamics.measures import state_size as state_size
from graphseq.sequence.dynamics.measures import transition as transition
from graphseq.sequence.dynamics.phi import apply_phi as apply_phi
from graphseq.sequence.dynamics.phi import phi as phi
from graphseq.sequence.dynamics.system import DynamicalSystem as DynamicalSystem
from graphseq.sequence.dynamics.table import table as table
from graphseq.sequence.dynamics.to_dynamics import to_dynamics as to_dynamics
