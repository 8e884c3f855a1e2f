"""Two threads at most in all, no network, and no settings from the caller's environment."""

import os

# one thread for each of two workers; of the processes that tests start, too
os.environ["OMP_NUM_THREADS"] = "1" if "PYTEST_XDIST_WORKER" in os.environ else "2"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "agg"

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def two_threads():
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
