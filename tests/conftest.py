"""What holds for every test: no network, no hub, one thread, no clock."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

# Before anything imports torch or transformers: they read these once. Subprocesses of tests inherit them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HOME"] = tempfile.mkdtemp(
    prefix="honed-tests-hub-"
)  # results must not depend on what was downloaded before
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["MPLBACKEND"] = "Agg"
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import HealthCheck, settings

REPO = Path(__file__).resolve().parent.parent

# A machine under load is no fault of the code: no deadline, and the same examples in every run.
settings.register_profile(
    "honed", deadline=None, derandomize=True, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("honed")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests marked `gpu`, saying so, where there is no CUDA device."""
    if item.get_closest_marker("gpu") is not None:
        import torch

        if not torch.cuda.is_available():
            pytest.skip("NOT RUN: needs a CUDA device, and this machine has none")
    if "torch" in sys.modules:  # a test of the server may have chosen others: sums of another order are other sums
        sys.modules["torch"].set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


def pytest_sessionfinish() -> None:
    """Remove the empty hub cache."""
    import shutil

    shutil.rmtree(os.environ["HF_HOME"], ignore_errors=True)


@pytest.fixture(scope="session")
def repo() -> Path:
    """The root of the repository."""
    return REPO


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data that lies beside the repository, or a skip that says it is missing."""
    folder = REPO.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"NOT RUN: needs the real data in {folder}")
    return folder
