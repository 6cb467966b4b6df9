"""The number of threads does not depend on what ran before."""

from __future__ import annotations

import os

import numba
import pytest
import torch

from imagereg.running.threads import use_threads

pytestmark = pytest.mark.alone


def test_what_says_nothing_of_threads_gets_all_of_them_again() -> None:
    use_threads(None)
    before = torch.get_num_threads(), numba.get_num_threads()
    use_threads(1)
    assert (torch.get_num_threads(), numba.get_num_threads()) == (1, 1)
    use_threads(None)
    assert (torch.get_num_threads(), numba.get_num_threads()) == before


def test_no_more_threads_than_the_machine_has_cores() -> None:
    use_threads(10_000)
    assert torch.get_num_threads() == os.cpu_count()
    use_threads(None)
