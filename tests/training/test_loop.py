import gc
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD, Adam, Optimizer
from toys import (
    TOYS,
    Accumulating,
    Carried,
    LayerLocal,
    LocalNet,
    Regression,
    TwoStage,
    network,
    problem,
    weights,
    without_seconds,
)

from graphseq.training import Budget, Loss, Stage, Task, evaluate, fit


def orders(epochs: int, batch_size: int) -> Iterator[Tensor]:
    for epoch in range(epochs):
        generator = torch.Generator().manual_seed(100 + epoch)
        yield from torch.randperm(23, generator=generator).split(batch_size)


def test_one_unit_is_plain_backpropagation() -> None:
    task = Regression(stage=Stage(epochs=4, monitors=("train/loss",)))
    fit(task)
    model, (x, y) = network(), problem()
    optimizer = Adam(model.parameters(), lr=0.05)
    sums, best = [], None
    for i, rows in enumerate(orders(4, 8)):
        loss = (model(x[rows]) - y[rows]).square().mean(1).sum() * (1 / len(rows))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        sums.append(loss.item())
        if i % 3 == 2 and (best is None or sum(sums[-3:]) < best[0]):
            best = sum(sums[-3:]), [p.detach().clone() for p in model.parameters()]
    assert best is not None
    for ours, plain in zip(task.parameters(), best[1], strict=True):
        assert torch.equal(ours, plain)


def test_layers_step_one_after_the_other_on_fresh_weights() -> None:
    task = LayerLocal(stage=Stage(epochs=3, monitors=("val/mse",)))
    fit(task, Budget(stop=lambda rows: len(rows) == 3))
    plain = LocalNet()
    x, y = problem()
    optimizers = [Adam(layer.parameters(), lr=0.05) for layer in plain.layers]
    best: tuple[float, list[Tensor]] | None = None
    for i, rows in enumerate(orders(3, 8)):
        h = x[rows]
        for layer, optimizer in zip(plain.layers, optimizers, strict=True):
            h, out = layer(h.detach())  # made by layers below that have already stepped... once
            optimizer.zero_grad()
            ((out - y[rows]).square().mean(1).sum() * (1 / len(rows))).backward()
            optimizer.step()
        if i % 3 == 2:
            with torch.no_grad():
                value = float((plain(x).double() - y.double()).square().mean())
            if best is None or value < best[0]:
                best = value, [p.detach().clone() for p in plain.parameters()]
    assert best is not None
    for ours, expected in zip(task.parameters(), best[1], strict=True):
        assert torch.equal(ours, expected)


def assert_equal_parameters(first: nn.Module, second: nn.Module) -> None:
    for p, q in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(p, q)


def test_the_generator_goes_on_after_the_step() -> None:
    seen = []

    class Twice(Regression):
        def losses(self, batch: Any, stage: Stage) -> Iterator[Loss]:
            for _ in range(2):
                seen.append(next(self.model.parameters())[0, 0].item())
                yield from super().losses(batch, stage)

    fit(Twice(), Budget(epochs=1, max_steps=2))
    assert len(seen) == 4
    assert len(set(seen)) == 4


def test_accumulated_gradients_are_those_of_one_step() -> None:
    class Parts(Regression):
        def losses(self, batch: Any, stage: Stage) -> Iterator[Loss]:
            rows, total = batch
            for i, part in enumerate(rows.split(1)):
                error = self.model(self.x[part]) - self.y[part]
                yield Loss(error.square().mean(1).sum() / total, step=i + 1 == total)

    parts, whole = (kind(dtype=torch.float64) for kind in (Parts, Regression))
    for task in (parts, whole):
        fit(task, Budget(epochs=2))
    for a, b in zip(parts.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_gradients_are_cleared_at_the_first_backward_after_a_step() -> None:
    task = Accumulating(dtype=torch.float64)
    result = fit(task, Budget(epochs=2))  # 6 batches: steps after 2, 4, 6, across the epoch's end
    model, (x, y) = network().double(), problem(dtype=torch.float64)
    optimizer = Adam(model.parameters(), lr=0.05)
    best = (float("inf"), [torch.empty(0)])
    for i, rows in enumerate(orders(2, 8), start=1):
        loss = (model(x[rows]) - y[rows]).square().mean(1).sum() / len(rows) / 2
        loss.backward()
        if i % 2 == 0:
            optimizer.step()
            optimizer.zero_grad()
        if i % 3 == 0:
            value = (model(x) - y).square().mean().item()
            best = min(best, (value, [p.detach().clone() for p in model.parameters()]))
    assert result.metrics["val/mse"] == pytest.approx(best[0])
    for ours, plain in zip(task.parameters(), best[1], strict=True):
        torch.testing.assert_close(ours, plain)


def test_the_training_loss_is_the_mean_over_steps_of_the_sum_of_their_parts() -> None:
    seen = []

    class Noting(Accumulating):
        def losses(self, batch: Any, stage: Stage) -> Iterator[Loss]:
            for loss in super().losses(batch, stage):
                seen.append(loss.value.item())
                yield loss

    result = fit(
        Noting(stage=Stage(epochs=4, monitors=("val/mse",)))
    )  # 3 batches an epoch, a step after every other one
    steps = [a + b for a, b in zip(seen[::2], seen[1::2], strict=True)]
    expected = [steps[0], sum(steps[1:3]) / 2, steps[3], sum(steps[4:6]) / 2]
    assert [row["train/loss"] for row in result.history] == pytest.approx(expected, rel=1e-6)


def test_a_step_that_a_stage_does_not_make_counts_nowhere() -> None:
    class Unfinished(TwoStage):
        def losses(self, batch: Any, stage: Stage) -> Iterator[Loss]:
            for number, step in ((1.0, True), (11.0, False)):
                (loss,) = super().losses(batch, stage)
                yield Loss(0.0 * loss.value + number, "model.0", step)

        def optimizers(self, stage: Stage) -> dict[str, Any]:
            return super().optimizers(super().stages()[0])

        def unused_parameters(self) -> dict[str, str]:
            return {name: "no stage trains it" for name in ("model.1.1.weight", "model.1.1.bias")}

    result = fit(Unfinished(batch_size=23), Budget(epochs=2))
    assert [row["train/loss"] for row in result.history] == [1.0, 12.0, 1.0, 12.0]


def test_stages_train_their_units_and_start_from_the_best_before() -> None:
    task = TwoStage()
    start = weights(task)
    watched: dict[str, dict[str, Tensor]] = {}
    grads = []

    class Watching(TwoStage):
        def losses(self, batch: Any, stage: Stage) -> Iterator[Loss]:
            watched.setdefault(stage.name, weights(self))
            grads.append([p.requires_grad for p in self.parameters()])
            yield from super().losses(batch, stage)

    task = Watching()
    result = fit(task)
    end = weights(task)
    assert [row["stage"] for row in result.history] == ["below"] * 3 + ["above"] * 3
    assert torch.equal(start["model.1.1.weight"], watched["above"]["model.1.1.weight"])
    assert not torch.equal(start["model.0.weight"], watched["above"]["model.0.weight"])
    assert torch.equal(watched["above"]["model.0.weight"], end["model.0.weight"])
    assert not torch.equal(watched["above"]["model.1.1.weight"], end["model.1.1.weight"])
    assert grads[0] == [True, True, False, False]
    assert grads[-1] == [False, False, True, True]
    assert all(p.requires_grad for p in task.parameters())
    best = min(result.history[:3], key=lambda row: row["val/mse"])
    task.load_state_dict(watched["above"])
    assert evaluate(task, "val")["mse"] == best["val/mse"]


@pytest.mark.parametrize("norms", [0.1, 1, (0.1, 0.02), (0.1, float("inf"))])
def test_clipping_bounds_the_norm_of_each_step(norms: Any) -> None:
    seen = []

    class Recording(SGD):
        def step(self, closure: Any = None) -> None:
            seen.append([g["params"][0].grad.clone() for g in self.param_groups])
            super().step(closure)

    class Grouped(Regression):
        def optimizers(self, stage: Stage) -> dict[str, Any]:
            groups = [{"params": m.parameters()} for m in self.model.children()]
            return {"model": Recording(groups, lr=0.01)}

    model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Linear(4, 2, bias=False))
    plain = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Linear(4, 2, bias=False))
    plain.load_state_dict(model.state_dict())
    stage = Stage(epochs=1, monitors=("val/mse",), max_norm=norms)
    fit(Grouped(model, stage=stage, batch_size=23))
    x, y = problem()
    rows = next(orders(1, 23))
    (plain(x[rows]) - y[rows]).square().mean().backward()
    if isinstance(norms, tuple):
        for parameter, norm in zip(plain.parameters(), norms, strict=True):
            clip_grad_norm_([parameter], norm)
    else:
        clip_grad_norm_(plain.parameters(), norms)
    for ours, parameter in zip(seen[0], plain.parameters(), strict=True):
        torch.testing.assert_close(ours, parameter.grad)


def test_a_non_finite_loss_stops_before_its_step_and_is_named() -> None:
    class Exploding(Regression):
        def losses(self, batch: Any, stage: Stage) -> Iterator[Loss]:
            for loss in super().losses(batch, stage):
                scale = float("inf") if len(self.seen) == 5 else 1.0
                self.last = weights(self)
                yield Loss(loss.value * scale)

    task = Exploding(stage=Stage("main", epochs=4, monitors=("val/mse",)))
    match = r"loss of unit 'model' is inf in stage 'main', epoch 2, batch 2; lower"
    with pytest.raises(FloatingPointError, match=match):
        fit(task)
    assert all(torch.equal(v, task.last[k]) for k, v in weights(task).items())


def test_a_non_finite_gradient_is_named_where_norms_are_looked_at() -> None:
    class Root(Regression):
        def losses(self, batch: Any, stage: Stage) -> Iterator[Loss]:
            for loss in super().losses(batch, stage):
                yield Loss(loss.value + (next(self.model.parameters()).sum() * 0).sqrt())

    stage = Stage("main", epochs=2, monitors=("val/mse",), max_norm=1.0)
    with pytest.raises(FloatingPointError, match=r"gradient norm of unit 'model' is nan.*epoch 1"):
        fit(Root(stage=stage))


def test_a_monitor_that_is_nan_or_missing_is_an_error() -> None:
    task = Regression()
    task.metrics = lambda *_: {"mse": float("nan")}  # type: ignore[method-assign]
    with pytest.raises(FloatingPointError, match="'val/mse' is nan in stage 'train', epoch 1"):
        fit(task)
    task.metrics = lambda *_: {"acc": 1.0}  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=r"no monitor 'val/mse' .* there are .*'val/acc'"):
        fit(task)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_split_without_batches_is_an_error(split: str) -> None:
    class Empty(Regression):
        def batches(self, wanted: str, *rest: Any) -> Any:
            return [] if wanted == split else super().batches(wanted, *rest)

    with pytest.raises(ValueError, match=f"^Empty.batches: no batches for '{split}'"):
        fit(Empty(), Budget(epochs=1))


def test_test_rows_are_scored_once_and_at_the_end() -> None:
    asked = []

    class Watching(Regression):
        def predict(self, batch: Any, split: str, stage: Stage, final: bool) -> Any:
            assert not self.training
            assert not torch.is_grad_enabled()
            asked.append((split, final))
            return super().predict(batch, split, stage, final)

    fit(Watching(batch_size=23), Budget(epochs=3))
    assert asked == [("val", False)] * 3 + [("val", True), ("test", True)]


def test_fit_ends_with_the_scores_that_evaluate_gives() -> None:
    task = Regression(p=0.3)
    result = fit(task)
    assert not task.training
    for split in ("val", "test"):
        scores = evaluate(task, split)
        assert {f"{split}/{k}": v for k, v in scores.items()}.items() <= result.metrics.items()


def test_training_mode_is_on_in_losses_and_evaluate_restores_it() -> None:
    modes = []

    class Watching(Regression):
        def losses(self, batch: Any, stage: Stage) -> Iterator[Loss]:
            modes.append((self.training, self.model.training, torch.is_grad_enabled()))
            yield from super().losses(batch, stage)

    task = Watching(p=0.3)
    task.eval()
    fit(task, Budget(epochs=2))
    assert set(modes) == {(True, True, True)}
    task.train()
    evaluate(task)
    assert task.training
    assert task.model.training


def test_the_task_is_itself_again_afterwards() -> None:
    for make in TOYS.values():
        task = make()
        modules = dict(task.named_modules())
        fit(task, Budget(epochs=1))
        assert dict(task.named_modules()) == modules
        task.metrics = lambda *_: {}  # type: ignore[method-assign]
        with pytest.raises(ValueError, match="no monitor"):
            fit(task, Budget(epochs=1))
        assert dict(task.named_modules()) == modules
        assert all(p.requires_grad for p in task.parameters())


@pytest.mark.parametrize("name", TOYS)
def test_equal_seeds_give_equal_runs(name: str) -> None:
    first, second = TOYS[name](), TOYS[name]()
    a, b = fit(first, seed=5), fit(second, seed=5)
    assert without_seconds(a.history) == without_seconds(b.history)
    assert a.metrics == b.metrics
    assert_equal_parameters(first, second)


def test_schedulers_step_once_per_epoch() -> None:
    rates = []

    class Watching(Carried):
        def losses(self, batch: Any, stage: Stage) -> Iterator[Loss]:
            rates.append(self.optimizer.param_groups[0]["lr"])
            yield from super().losses(batch, stage)

        def schedulers(self, optimizers: Any, stage: Stage) -> Any:
            self.optimizer = optimizers["model"]
            return super().schedulers(optimizers, stage)[:1]

    fit(Watching(lr=0.08), Budget(epochs=4))
    assert rates == [0.08] * 6 + [0.04] * 6


def test_a_plateau_scheduler_follows_the_first_monitor() -> None:
    values = iter([1.0, 2.0, 3.0, 0.5] + [0.0] * 4)

    class Watching(Carried):
        def schedulers(self, optimizers: Any, stage: Stage) -> Any:
            self.optimizer = optimizers["model"]
            return super().schedulers(optimizers, stage)[1:]

        def metrics(self, predictions: Any, split: str, stage: Stage) -> dict[str, float]:
            rates.append(self.optimizer.param_groups[0]["lr"])
            return {"mse": next(values)}

    rates: list[float] = []
    fit(Watching(lr=1e-3), Budget(epochs=4))
    assert rates[:4] == pytest.approx([1e-3, 1e-3, 1e-4, 1e-5])


def test_history_and_result_say_what_happened() -> None:
    result = fit(LayerLocal(), Budget(epochs=3, evaluate_every=2))
    assert [row["epoch"] for row in result.history] == [1, 2, 3]
    units = [f"train/loss/model.layers.{i}" for i in range(3)]
    for row in result.history:
        assert row["train/loss"] == pytest.approx(sum(row[u] for u in units) / 3)
    assert result.num_parameters == sum(p.numel() for p in LocalNet().parameters())
    assert result.peak_memory_mb > 50
    assert 0 < result.seconds_per_epoch <= result.seconds
    assert set(result.metrics) == {"val/mse", "val/gap", "test/mse", "test/gap"}


def test_max_steps_cuts_an_epoch_short() -> None:
    task = Regression()
    fit(task, Budget(epochs=2, max_steps=2))
    assert len(task.seen) == 4


def test_a_step_leaves_no_garbage_cycles() -> None:
    task = Regression()
    fit(task, Budget(epochs=1))
    gc.collect()
    gc.disable()
    try:
        fit(task, Budget(epochs=2))
        few = gc.collect()
        fit(task, Budget(epochs=30))
        many = gc.collect()
    finally:
        gc.enable()
    assert many <= few + 10


def broken(change: Callable[[Regression], Any]) -> Regression:
    task = Regression()
    task.optimizers = lambda stage: change(task)  # type: ignore[method-assign]
    return task


def sgd(*modules: nn.Module) -> SGD:
    return SGD([p for m in modules for p in m.parameters()], lr=0.1)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda t: {"net": sgd(t.model)}, "'net' is no submodule"),
        (lambda t: {"": sgd(t.model)}, "'' is no submodule"),
        (
            lambda t: {"model": sgd(t.model), "model.0": sgd(t.model[0])},
            "units 'model' and 'model.0' both hold the parameter 'model.0.weight'",
        ),
        (
            lambda t: {"model.0": sgd(t.model[0], t.model[1])},
            r"unit 'model.0' holds a parameter from elsewhere \(model.1.1",
        ),
        (
            lambda t: {"model.0": sgd(t.model[0])},
            "no optimizer holds model.1.1.bias, model.1.1.weight; add them",
        ),
        (
            lambda t: {"model": SGD(t.model[0].parameters(), lr=0.1)},
            r"\(stage 'train'\): no optimizer holds model.1.1",
        ),
        (lambda t: {}, "no optimizer holds"),
    ],
)
def test_units_that_are_not_in_order_are_refused(change: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        fit(broken(change))


def test_more_things_that_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    task = Regression()
    task.alias = task.model
    with pytest.raises(ValueError, match=r"several names in the task \(model, alias\)"):
        fit(task)
    with pytest.raises(ValueError, match=r"max_norm has 3 entries.*1 parameter groups"):
        fit(Regression(stage=Stage(monitors=("val/mse",), max_norm=(1.0, 2.0, 3.0))))
    with pytest.raises(ValueError, match="precision='8-bit' is unknown"):
        fit(Regression(), precision="8-bit")
    with pytest.raises(ValueError, match="device='gpu9' is unknown"):
        fit(Regression(), device="gpu9")
    with pytest.raises(ValueError, match="need a folder; pass out="):
        fit(Regression(), resume=True)
    with monkeypatch.context() as patch:
        patch.setenv("WORLD_SIZE", "3")
        with pytest.raises(ValueError, match="WORLD_SIZE is 3, but torchrun did not start"):
            fit(Regression())
    same = Regression()
    same.stages = lambda: (same.stage, same.stage)  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="different names, got"):
        fit(same)

    class Stray(Regression):
        def losses(self, batch: Any, stage: Stage) -> Iterator[Loss]:
            yield Loss(next(self.model.parameters()).sum(), "model.0")

    with pytest.raises(ValueError, match=r"names the unit 'model.0', but .* for \['model'\]"):
        fit(Stray())

    class Bare(Regression):
        def __init__(self) -> None:
            super().__init__()
            del self.model

    with pytest.raises(ValueError, match=r"Bare: assign self\.model"):
        fit(Bare())


def test_metrics_must_be_numbers_and_predictions_tensors() -> None:
    task = Regression()
    task.metrics = lambda *_: {"mse": torch.zeros(2)}  # type: ignore[method-assign, dict-item]
    with pytest.raises(TypeError, match="metrics: 'mse' must be a number, got Tensor"):
        fit(task, Budget(epochs=0))
    task.predict = lambda *_: {"out": 3.0}  # type: ignore[method-assign, dict-item]
    with pytest.raises(TypeError, match="got float for 'out'"):
        fit(task, Budget(epochs=0))
    task.predict = lambda *_: torch.zeros(())  # type: ignore[method-assign]
    with pytest.raises(TypeError, match="got a scalar tensor"):
        fit(task, Budget(epochs=0))


def test_predictions_may_be_one_tensor() -> None:
    class One(Regression):
        def predict(self, batch: Any, split: str, stage: Stage, final: bool) -> Tensor:
            return super().predict(batch, split, stage, final)["out"]

        def metrics(self, predictions: Any, split: str, stage: Stage) -> dict[str, float]:
            return {"mse": (predictions - self.y).square().mean().item()}

    ours, plain = fit(One()), fit(Regression())
    assert ours.metrics["test/mse"] == pytest.approx(plain.metrics["test/mse"], rel=1e-5)


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed", "64-true"])
def test_other_precisions_train(precision: str) -> None:
    dtypes = []

    class Watching(Regression):
        def prepare(self, device: torch.device) -> None:
            if precision == "64-true":
                self.x, self.y = self.x.double(), self.y.double()

        def losses(self, batch: Any, stage: Stage) -> Iterator[Loss]:
            hook = self.model.get_submodule("0").register_forward_hook(
                lambda module, inputs, out: dtypes.append((inputs[0].dtype, out.dtype))
            )
            yield from super().losses(batch, stage)
            hook.remove()

    half = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
    stage = Stage(epochs=15, monitors=("val/mse",), max_norm=5.0)
    task = Watching(stage=stage)
    result = fit(task, precision=precision)
    inside = half.get(precision, torch.float64)
    # An input is not rounded before an operation asks for it.
    outside = torch.float64 if precision == "64-true" else torch.float32
    assert set(dtypes) == {(outside, inside)}
    assert next(task.parameters()).dtype == outside
    assert result.metrics["test/mse"] < 0.7 * result.history[0]["val/mse"]
    assert evaluate(task, "val", precision=precision)["mse"] == result.metrics["val/mse"]


@pytest.mark.parametrize("kind", [Adam, SGD])
def test_a_fused_optimizer_is_clipped_under_a_scaler(kind: Any) -> None:
    class Clipped(LayerLocal):
        def __init__(self, fused: bool, max_norm: float | None = 0.05) -> None:
            super().__init__(stage=Stage(epochs=6, monitors=("val/mse",), max_norm=max_norm))
            self.fused = fused

        def optimizers(self, stage: Stage) -> dict[str, Optimizer]:
            paths = [f"model.layers.{i}" for i in range(3)]
            return {
                path: kind(self.get_submodule(path).parameters(), lr=0.05, fused=self.fused)
                for path in paths
            }

        def losses(self, batch: Any, stage: Stage) -> Iterator[Loss]:
            for loss in super().losses(batch, stage):  # in one step, half precision overflows
                yield replace(loss, value=loss.value * (1e4 if len(self.seen) == 4 else 1.0))

    task, plain, free = Clipped(True), Clipped(False), Clipped(True, None)
    for each in (task, plain, free):
        fit(each, precision="16-mixed")
    for ours, theirs in zip(task.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    start = torch.cat([p.detach().flatten() for p in LocalNet().parameters()])
    moved, further = (
        float(torch.cat([p.detach().flatten() for p in each.parameters()]).sub(start).abs().max())
        for each in (task, free)
    )
    assert 0 < moved
    if kind is SGD:  # 18 steps, each no longer than lr * max_norm
        assert moved <= 18 * 0.05 * 0.05 < further


def test_compiled_units_train_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []

    def compile(module: nn.Module) -> None:
        compiled.append(module)
        module._compiled_call_impl = module._call_impl

    monkeypatch.setattr(nn.Module, "compile", compile)
    task, plain = LayerLocal(), LayerLocal()
    fit(task, compile=True)
    fit(plain)
    assert compiled == list(task.model.get_submodule("layers"))
    assert all(m._compiled_call_impl is None for m in task.modules())
    assert_equal_parameters(task, plain)


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore")  # of the compiler's own making
def test_units_really_compile() -> None:
    task, plain = Regression(dtype=torch.float64), Regression(dtype=torch.float64)
    fit(task, compile=True)
    fit(plain)
    for p, q in zip(task.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(p, q)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_trains_like_the_cpu() -> None:
    for make in (Regression, LayerLocal):
        gpu, cpu = make(dtype=torch.float64), make(dtype=torch.float64)
        fit(gpu, device="cuda")
        fit(cpu)
        for p, q in zip(gpu.parameters(), cpu.parameters(), strict=True):
            torch.testing.assert_close(p.cpu(), q)


@pytest.mark.parametrize("release", ["2.6.2", "2.6.3"])
def test_compromised_releases_are_refused(monkeypatch: pytest.MonkeyPatch, release: str) -> None:
    monkeypatch.setattr("graphseq.training.fabric.version", lambda name: release)
    with pytest.raises(ImportError, match="compromised"):
        fit(Regression())


def test_an_empty_loss_generator_is_a_batch_without_a_step() -> None:
    class Picky(Regression):
        def losses(self, batch: Any, stage: Stage) -> Iterator[Loss]:
            if len(self.seen) % 2:
                yield from super().losses(batch, stage)
            else:
                self.seen.append([])

    task: Task = Picky()
    assert fit(task, Budget(epochs=2)).epochs_run == 2
