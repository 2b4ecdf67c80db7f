"""What every test stands on: no network, one thread, the shared data where there is some."""

import os
import signal
from pathlib import Path

os.environ.update(
    HF_HUB_OFFLINE="1",
    RAY_AUTH_MODE="disabled",
    RAY_USAGE_STATS_ENABLED="0",
    RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",
    DVC_NO_ANALYTICS="1",
    WDS_SECURE="1",
    OMP_NUM_THREADS="1",
    # Ray's workers import the tests' small worlds by name.
    PYTHONPATH=str(Path(__file__).parent),
)

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("open-det", deadline=None)  # a busy machine is no fault of the code
settings.load_profile("open-det")

# A job in the background ignores Ctrl-C, and so would each process that a test begins.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("OPENDET_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder}: set OPENDET_SHARED_DATA")
    return folder
