r"""Group reductions and their gradients, shared by scatter and segment and by every engine.

With i(e) the group of element e, S the sum over a group and "spread" its adjoint, which hands a
group's value to each of its elements::

    sum        y_i = S_i(x)                               dx_e = dy_i(e)
    mean       y_i = S_i(x) / n_i                         dx_e = dy_i(e) / n_i(e)
    max, min   y_i = extremum of x_e                      dx_e = dy_i(e) [x_e = y_i(e)] / ties_i(e)
    mul        y_i = product of x_e                       dx_e = dy_i(e) * product of the others
    softmax    y_e = exp(x_e) / S_i(e)(exp x)             dx_e = y_e (dy_e - S_i(e)(dy y))
    logsumexp  y_i = log S_i(exp x)                       dx_e = dy_i(e) exp(x_e - y_i(e))

Sum and spread are each other's gradient, so what is written with them can be differentiated any
number of times. The numba engine has a compiled loop for each line above and takes it unless a
graph of the backward is wanted (``create_graph``).
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from graphseq.graph.ops import reduce_engines as engines
from graphseq.graph.ops import reduce_kernels as loops
from graphseq.graph.ops import softmax_kernels
from graphseq.graph.ops.reduce_engines import Groups
from graphseq.kernels import array

_NO_GRADIENT = (None,) * len(Groups._fields)


def reduce_groups(src: Tensor, groups: Groups, reduce: str) -> Tensor:
    """Reduces ``src [E, F]`` to ``[N, F]`` (softmax: ``[E, F]``); inputs are checked already."""
    match reduce:
        case "sum":
            return _sum(src, groups)
        case "mean":
            return _sum(src, groups).div_(groups.counts.clamp(min=1))
        case "max" | "min":
            return _Extremum.apply(src, reduce, *groups)
        case "mul":
            if groups.engine == "torch":
                return engines.product(src, groups)
            return _Product.apply(src, *groups)
        case "softmax":
            return _Softmax.apply(src, *groups)
        case _:
            return _LogSumExp.apply(src, *groups)


def _sum(src: Tensor, groups: Groups) -> Tensor:
    return _SumOrSpread.apply(src, False, *groups)


def _spread(values: Tensor, groups: Groups) -> Tensor:
    return _SumOrSpread.apply(values, True, *groups)


class _SumOrSpread(Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, spread: bool, *fields: Any) -> Tensor:
        groups = Groups(*fields)
        _save(ctx, groups)
        ctx.spread = spread
        return engines.spread(values, groups) if spread else engines.total(values, groups)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        groups, _ = _load(ctx)
        adjoint = _sum if ctx.spread else _spread
        return adjoint(grad, groups), None, *_NO_GRADIENT


class _Extremum(Function):
    @staticmethod
    def forward(ctx: Any, src: Tensor, reduce: str, *fields: Any) -> Tensor:
        groups = Groups(*fields)
        best, *ties = engines.extremum(src, groups, reduce, count=ctx.needs_input_grad[0])
        _save(ctx, groups, src, best, *ties)
        return best

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        groups, (src, best, *ties) = _load(ctx)
        if _compiled(groups):
            labels, out = groups.labels, torch.empty_like(src)
            share = grad / ties[0]
            loops.extremum_gradient(*map(array, (src, labels, best, share, out)), work=src.numel())
            return out, None, *_NO_GRADIENT
        reached = (src == _spread(best, groups)).to(src.dtype)
        count = _sum(reached, groups).clamp(min=1)
        return reached * _spread(grad / count, groups), None, *_NO_GRADIENT


class _Product(Function):
    """Product by numba or torch_scatter; torch's own has its gradient already."""

    @staticmethod
    def forward(ctx: Any, src: Tensor, *fields: Any) -> Tensor:
        groups = Groups(*fields)
        _save(ctx, groups, src)
        return engines.product(src, groups)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        groups, (src,) = _load(ctx)
        if _compiled(groups):
            out = torch.empty_like(src)
            arguments = array(grad), array(src), *groups.runs(), array(out)
            loops.multiply_gradient(*arguments, work=2 * src.numel())
            return out, *_NO_GRADIENT
        graph = torch.is_grad_enabled()
        src = src if graph else src.detach().requires_grad_()
        native = Groups(groups.labels, None, None, groups.size, "torch")
        with torch.enable_grad():
            product = engines.product(src, native)
        return *torch.autograd.grad(product, src, grad, create_graph=graph), *_NO_GRADIENT


class _Softmax(Function):
    @staticmethod
    def forward(ctx: Any, src: Tensor, *fields: Any) -> Tensor:
        groups = Groups(*fields)
        prob = engines.softmax(src, groups)
        _save(ctx, groups, prob)
        return prob

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        groups, (prob,) = _load(ctx)
        if _compiled(groups):
            out = torch.empty_like(prob)
            arguments = array(grad), array(prob), *groups.runs(), array(out)
            softmax_kernels.softmax_gradient(*arguments, work=2 * prob.numel())
            return out, *_NO_GRADIENT
        mean = _sum(grad * prob, groups)
        return prob * (grad - _spread(mean, groups)), *_NO_GRADIENT


class _LogSumExp(Function):
    @staticmethod
    def forward(ctx: Any, src: Tensor, *fields: Any) -> Tensor:
        groups = Groups(*fields)
        result = engines.logsumexp(src, groups)
        _save(ctx, groups, src, result)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        groups, (src, result) = _load(ctx)
        if _compiled(groups):
            labels, out = groups.labels, torch.empty_like(src)
            arguments = map(array, (grad, src, labels, result, out))
            softmax_kernels.logsumexp_gradient(*arguments, work=10 * src.numel())
            return out, *_NO_GRADIENT
        # A group of nothing but -inf has y = -inf: exp(-inf - 0) = 0 is its gradient.
        finite = result.masked_fill(result == -torch.inf, 0)
        prob = (src - _spread(finite, groups)).exp()
        return prob * _spread(grad, groups), *_NO_GRADIENT


def _compiled(groups: Groups) -> bool:
    """Whether this backward is a compiled loop: it is not where it has to be differentiated."""
    return groups.engine == "numba" and not torch.is_grad_enabled()


def _save(ctx: Any, groups: Groups, *tensors: Tensor) -> None:
    # Saved by autograd, which notices if the caller overwrites index before the backward: the
    # compiled loops would follow a wrong index anywhere.
    ctx.save_for_backward(groups.of_element, groups.ptr, groups.order, *tensors)
    ctx.size, ctx.engine = groups.size, groups.engine


def _load(ctx: Any) -> tuple[Groups, list[Tensor]]:
    of_element, ptr, order, *tensors = ctx.saved_tensors
    return Groups(of_element, ptr, order, ctx.size, ctx.engine), tensors
