"""Forward Learning of Graph Neural Networks (Park et al.; ICLR 2024; arXiv 2403.11004)."""

from graphseq.graph.models.forward_gnn.backprop import BackpropGNN as BackpropGNN
from graphseq.graph.models.forward_gnn.backprop_links import BackpropLinkGNN as BackpropLinkGNN
from graphseq.graph.models.forward_gnn.label_appending import LabelAppendingGNN as LabelAppendingGNN
from graphseq.graph.models.forward_gnn.links import ForwardLinkGNN as ForwardLinkGNN
from graphseq.graph.models.forward_gnn.single_forward import ForwardGNN as ForwardGNN
from graphseq.graph.models.forward_gnn.top_down_links import TopDownLinkGNN as TopDownLinkGNN
from graphseq.graph.models.forward_gnn.top_to_input import TopToInputGNN as TopToInputGNN
from graphseq.graph.models.forward_gnn.top_to_loss import TopToLossGNN as TopToLossGNN
from graphseq.graph.models.forward_gnn.virtual_nodes import VirtualNodeGNN as VirtualNodeGNN
