"""What every test runs under: poisoned memory, no network, its own cache, real data or a reason.

The guards are switched on when pytest starts, before any test module is imported.
"""

# First, before anything loads torch: it sets how OpenMP's threads wait, here as for users.
import graphseq  # noqa: F401, I001

import ipaddress
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import torch
from hypothesis.configuration import set_hypothesis_home_dir

REAL_DATA = os.environ.get("GRAPHSEQ_DATA")
TORCH_THREADS = 2  # more than one, so that parallel kernels do run in parallel

# Kernels compile in some example's time; a database would outlive the scratch folder. In CI the
# examples are the same in every run, elsewhere new ones are tried.
hypothesis.settings.register_profile(
    "graphseq", deadline=None, database=None, derandomize="CI" in os.environ
)
hypothesis.settings.load_profile("graphseq")

_scratch = pytest.StashKey[Path]()
_real_data_runs = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    torch.set_num_threads(min(TORCH_THREADS, os.cpu_count() or 1))
    poison_empty_tensors()
    refuse_network()
    # Compiled kernels stay where numba keeps them, beside the code; everything else goes here.
    config.stash[_scratch] = Path(tempfile.mkdtemp(prefix="graphseq-tests-"))
    os.environ["GRAPHSEQ_CACHE"] = str(config.stash[_scratch] / "cache")
    set_hypothesis_home_dir(config.stash[_scratch] / "hypothesis")
    config.stash[_real_data_runs] = []
    if REAL_DATA:
        folder = Path(REAL_DATA).resolve()  # tests change folders
        if not folder.is_dir():
            raise pytest.UsageError(f"GRAPHSEQ_DATA names no folder: {folder}")
        os.environ["GRAPHSEQ_DATA"] = str(folder)


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(config.stash[_scratch], ignore_errors=True)


def poison_empty_tensors() -> None:
    """Uninitialised memory that graphseq asks for holds NaN (or the lowest integer), never zeros.

    Fresh memory often is zero, and then code that forgets to fill it passes its tests.
    """

    def poisoned(allocate: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def empty(*args: Any, **kwargs: Any) -> torch.Tensor:
            tensor = allocate(*args, **kwargs)
            if torch.compiler.is_compiling():
                return tensor
            caller = sys._getframe(1).f_globals.get("__name__", "")
            if caller.partition(".")[0] == "graphseq" and tensor.layout == torch.strided:
                with torch.no_grad():
                    tensor.fill_(poison(tensor.dtype))
            return tensor

        return empty

    torch.empty = poisoned(torch.empty)  # type: ignore[assignment]
    torch.empty_like = poisoned(torch.empty_like)  # type: ignore[assignment]
    torch.Tensor.new_empty = poisoned(torch.Tensor.new_empty)  # type: ignore[assignment]


def poison(dtype: torch.dtype) -> float | int | bool:
    """The value that is hardest to overlook."""
    if dtype == torch.bool:
        return True
    return float("nan") if dtype.is_floating_point or dtype.is_complex else torch.iinfo(dtype).min


def refuse_network() -> None:
    """A connection to anywhere but this machine is an error, not a slow or flaky test."""
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def local(address: Any) -> None:
        if not isinstance(address, tuple):  # a Unix socket's path
            return
        host = address[0]
        try:
            allowed = host in ("", "localhost") or ipaddress.ip_address(host).is_loopback
        except ValueError:
            allowed = False
        if not allowed:
            raise RuntimeError(f"tests use no network, but something connects to {address}")

    def guarded_connect(self: socket.socket, address: Any) -> None:
        local(address)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        local(address)
        return connect_ex(self, address)

    socket.socket.connect = guarded_connect  # type: ignore[method-assign, assignment]
    socket.socket.connect_ex = guarded_connect_ex  # type: ignore[method-assign, assignment]


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder with the real datasets, for tests that are marked ``real_data``."""
    return Path(os.environ["GRAPHSEQ_DATA"])


@pytest.fixture(autouse=True)
def _same_threads_after() -> Iterator[None]:
    """A test that changes torch's thread count leaves it as it was."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if REAL_DATA:
        return
    skip = pytest.mark.skip(reason="GRAPHSEQ_DATA is not set: it names the folder of real datasets")
    for item in items:
        if item.get_closest_marker("real_data"):
            item.add_marker(skip)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With GRAPHSEQ_DATA set, a skipped test on real data is a failure."""
    report = yield
    if REAL_DATA and item.get_closest_marker("real_data"):
        if report.skipped and not hasattr(report, "wasxfail"):
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid} was skipped although GRAPHSEQ_DATA is set"
        elif report.when == "call":
            item.config.stash[_real_data_runs].append(item.nodeid)
    return report


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if REAL_DATA:
        runs = len(config.stash[_real_data_runs])
        terminalreporter.line(f"real data: {runs} tests ran on {os.environ['GRAPHSEQ_DATA']}")
    else:
        terminalreporter.line("real data: no tests ran, GRAPHSEQ_DATA is not set")
