"""Lazy compilation, threads, forks, and folders that cannot be written."""

import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import graphseq
from graphseq.kernels import array, kernel, prange


@kernel()
def twice(value: Any) -> Any:
    return 2 * value


@kernel(parallel=True)
def fill(out: Any) -> None:
    for i in prange(out.shape[0]):
        out[i] = twice(i)


@kernel()
def sum_of(x: Any) -> Any:
    total = 0.0
    for i in range(x.shape[0]):
        total += x[i]
    return total


@pytest.mark.parametrize("work", [0, 10**9])
@pytest.mark.parametrize("threads", [1, 2, 1000])
def test_serial_and_parallel_variants_compute_the_same(work: int, threads: int) -> None:
    out = np.zeros(1000)
    torch.set_num_threads(threads)
    fill(out, work=work)
    assert (out == 2 * np.arange(1000)).all()


def test_the_uncompiled_function_is_plain_python(monkeypatch: pytest.MonkeyPatch) -> None:
    out = np.zeros(5)
    monkeypatch.setitem(fill.function.__globals__, "twice", twice.function)
    fill.function(out)
    assert out.tolist() == [0, 2, 4, 6, 8]
    assert list(prange(1, 7, 2)) == [1, 3, 5]


def test_nan_survives_the_fast_arithmetic() -> None:
    assert np.isnan(sum_of(np.array([1.0, np.nan])))
    assert np.isinf(sum_of(np.array([1.0, np.inf])))


def test_many_threads_launch_at_once() -> None:
    def launch(size: int) -> bool:
        torch.set_num_threads(2)
        out = np.zeros(size)
        for _ in range(20):
            out[:] = 0
            fill(out, work=10**9)
        return bool((out == 2 * np.arange(size)).all())

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(launch, range(100, 200)))


def test_array_is_a_view_where_it_can_be() -> None:
    x = torch.zeros(3, requires_grad=True)
    array(x)[0] = 5.0
    assert x[0] == 5.0
    assert array(torch.zeros(3, 2).t()).flags.c_contiguous


def run_script(folder: Path, body: str, **environment: str) -> str:
    """Runs a module that defines a kernel, in a fresh process; returns what it prints.

    An empty ``graphseq`` package stands in for the real one, whose imports take seconds.
    """
    stand_in = folder / "graphseq" / "__init__.py"
    stand_in.parent.mkdir(exist_ok=True)
    stand_in.write_text(f"__path__.append({str(Path(graphseq.__file__).parent)!r})\n")
    script = folder / "script.py"
    script.write_text(textwrap.dedent(body))
    result = subprocess.run(
        [sys.executable, str(script)],
        env=os.environ
        | {"PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": str(folder / "cache")}
        | environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


FILL = """
    import numpy as np, os, sys, torch
    from graphseq.kernels import Kernel, kernel, prange
    torch.set_num_threads(2)

    def fill(out):
        for i in prange(out.shape[0]):
            out[i] = i

    def right(kernel):
        out = np.zeros(100)
        kernel(out, work=10**9)
        return bool((out == np.arange(100)).all())
"""


def test_compiled_at_the_first_call_kept_on_disk_and_renewed_with_its_helpers(
    tmp_path: Path,
) -> None:
    body = """
    import torch
    import numpy as np
    from graphseq.kernels import kernel, prange
    from helper import step
    torch.set_num_threads(2)

    @kernel(parallel=True)
    def fill(out):
        for i in prange(out.shape[0]):
            out[i] = step(i)

    before = len(fill._compiled)
    out = np.zeros(100)
    fill(out, work=10**9)
    hits = sum(fill.compiled("parallel").stats.cache_hits.values())
    print(before, hits, out[10])
    """
    helper = "from graphseq.kernels import kernel\n\n@kernel()\ndef step(i):\n    return {} * i\n"
    (tmp_path / "helper.py").write_text(helper.format(2))
    assert run_script(tmp_path, body).split() == ["0", "0", "20.0"]
    assert list((tmp_path / "cache").rglob("*.nbi"))
    assert run_script(tmp_path, body).split() == ["0", "1", "20.0"]
    (tmp_path / "helper.py").write_text(helper.format(3))
    assert run_script(tmp_path, body).split() == ["0", "0", "30.0"]


def test_forked_children_and_loader_workers_may_call_kernels(tmp_path: Path) -> None:
    """Parallel OpenMP in a forked child would end the process."""
    body = (
        FILL
        + """
    loop = Kernel(fill, parallel=True)

    class Rows(torch.utils.data.Dataset):
        def __len__(self):
            return 4
        def __getitem__(self, i):
            return right(loop)

    if __name__ == "__main__":
        assert right(loop)
        child = os.fork()
        if child == 0:
            os._exit(0 if right(loop) else 3)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        for context in ("fork", "spawn"):
            loader = torch.utils.data.DataLoader(
                Rows(), num_workers=1, multiprocessing_context=context
            )
            print(all(bool(batch.all()) for batch in loader))
    """
    )
    assert run_script(tmp_path, body).split() == ["0", "True", "True"]


def test_many_threads_launch_at_once_on_numbas_own_work_queue(tmp_path: Path) -> None:
    """That layer ends the process if two threads launch at once."""
    body = (
        FILL
        + """
    from concurrent.futures import ThreadPoolExecutor
    import numba
    loop = Kernel(fill, parallel=True)

    def launch(_):
        torch.set_num_threads(2)
        return all(right(loop) for _ in range(50))

    with ThreadPoolExecutor(8) as pool:
        print(all(pool.map(launch, range(16))), numba.threading_layer())
    """
    )
    output = run_script(tmp_path, body, NUMBA_THREADING_LAYER="workqueue")
    assert output.split() == ["True", "workqueue"]


def test_a_cache_that_cannot_be_written_costs_only_the_cache(tmp_path: Path) -> None:
    """numba finds out beforehand that no folder may be written, but not that the disk is full."""
    body = (
        FILL
        + """
    from numba.core import caching
    def full(*args):
        raise OSError(28, "No space left on device")
    caching.IndexDataCacheFile.save = full
    loop = Kernel(fill, parallel=True)
    print(right(loop), right(loop))
    caching.CacheImpl._locator_classes = []
    print(right(Kernel(fill, parallel=True)))
    """
    )
    assert run_script(tmp_path, body).split() == ["True", "True", "True"]
    assert not list((tmp_path / "cache").rglob("*.nbc"))
