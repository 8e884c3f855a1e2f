"""Two threads at most, no network, and no settings from the caller's environment."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "agg"

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def two_threads():
    torch.set_num_threads(2)
