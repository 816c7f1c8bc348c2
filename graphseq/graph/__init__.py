"""The graph wing: everything that knows what an edge is."""

from graphseq.graph import data as data
from graphseq.graph import models as models
from graphseq.graph import nn as nn
from graphseq.graph import ops as ops
from graphseq.graph import tasks as tasks
