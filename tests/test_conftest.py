"""The guards of conftest.py hold: each of these would pass silently without its guard."""

import os
import socket
import sys
import textwrap
from pathlib import Path

import pytest
import torch

pytest_plugins = ["pytester"]

CONFTEST = Path(__file__).with_name("conftest.py")


def call_from_graphseq(expression: str, **names: object) -> torch.Tensor:
    scope = {"__name__": "graphseq.somewhere", "torch": torch, **names}
    return eval(expression, scope)


@pytest.mark.parametrize(
    "expression", ["torch.empty(3)", "torch.empty_like(x)", "x.new_empty((2, 3))"]
)
def test_empty_memory_of_the_package_is_nan(expression: str) -> None:
    assert call_from_graphseq(expression, x=torch.zeros(4)).isnan().all()


def test_empty_integers_of_the_package_are_no_valid_index() -> None:
    assert (call_from_graphseq("torch.empty(3, dtype=torch.int64)") < 0).all()


def test_others_get_plain_empty_memory() -> None:
    scope = {"__name__": "elsewhere", "torch": torch}
    assert eval("torch.empty(2, 3, dtype=torch.float64)", scope).shape == (2, 3)


def test_network_is_refused() -> None:
    with socket.socket() as outside, pytest.raises(RuntimeError, match="no network"):
        outside.connect(("192.0.2.1", 80))  # an address kept for documentation


def test_loopback_is_allowed() -> None:
    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen()
        client.connect(server.getsockname())


def test_cache_is_not_the_users(tmp_path: Path) -> None:
    assert Path.home() not in Path(os.environ["GRAPHSEQ_CACHE"]).parents


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest(CONFTEST.read_text())
    pytester.makeini("[pytest]\nmarkers =\n  real_data: x\n")
    pytester.makepyfile(
        textwrap.dedent("""
            import pytest

            @pytest.mark.real_data
            def test_runs():
                pass

            @pytest.mark.real_data
            def test_skips():
                pytest.skip("for no good reason")
        """)
    )
    return pytester


@pytest.mark.skipif(sys.platform != "linux", reason="only GNU OpenMP knows GOMP_SPINCOUNT")
def test_openmp_waits_as_it_does_for_users(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):  # what graphseq has set in this process
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_DISPLAY_ENV", "VERBOSE")  # OpenMP tells what it has read when it loads
    told = suite.runpytest_subprocess("-s", "--collect-only").stderr.str()
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in told
    assert "GOMP_SPINCOUNT = '3000'" in told


def test_real_data_tests_skip_without_data(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GRAPHSEQ_DATA", raising=False)
    result = suite.runpytest_subprocess("-rs")
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(["real data: no tests ran*", "SKIPPED*GRAPHSEQ_DATA is not set*"])


def test_a_skip_with_data_is_a_failure(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPHSEQ_DATA", str(suite.path))
    result = suite.runpytest_subprocess()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*skipped although GRAPHSEQ_DATA is set*", "real data: 1 tests*"])


def test_missing_data_folder_is_an_error(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPHSEQ_DATA", str(suite.path / "absent"))
    result = suite.runpytest_subprocess()
    assert result.ret != 0
    result.stderr.fnmatch_lines(["*GRAPHSEQ_DATA names no folder*absent*"])
