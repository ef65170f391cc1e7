"""What the tests of all benchmarks need."""

import cv2
import pytest
import torch


@pytest.fixture(autouse=True)
def threads():
    """Gives PyTorch and OpenCV back the threads that a benchmark has set."""
    before = torch.get_num_threads()
    yield
    if torch.get_num_threads() != before:
        torch.set_num_threads(before)
        cv2.setNumThreads(-1)
