"""The sequence wing: everything that knows what a time step is."""

from graphseq.sequence import data as data
from graphseq.sequence import dynamics as dynamics
from graphseq.sequence import models as models
from graphseq.sequence import nn as nn
from graphseq.sequence import ops as ops
from graphseq.sequence import tasks as tasks
