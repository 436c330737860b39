"""How many threads torch uses: what was measured decides, not oftener than need be, and the user's word goes before it."""

import math
from collections.abc import Iterator

import pytest
import torch

from onelook import threads
from onelook.threads import chosen_threads


@pytest.fixture(autouse=True)
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    monkeypatch.delenv(threads.FIXED, raising=False)
    monkeypatch.setattr(threads, "_last", (-math.inf, True))
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("free", "inside"), [(True, 2), (False, 1)])
def test_what_was_measured_decides(monkeypatch: pytest.MonkeyPatch, free: bool, inside: int) -> None:
    monkeypatch.setattr(threads, "spare", lambda: free)
    with chosen_threads():
        assert torch.get_num_threads() == inside
    assert torch.get_num_threads() == 2


def test_it_is_measured_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[None] = []
    monkeypatch.setattr(threads, "spare", lambda: bool(measured.append(None)))
    for _ in range(5):
        with chosen_threads(), chosen_threads():
            assert torch.get_num_threads() == 1
    assert len(measured) == 1


def test_choices_within_a_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy at first and free later: the inner choice takes all threads again, and so it ends."""
    free = iter([False, True])
    monkeypatch.setattr(threads, "spare", lambda: next(free))
    monkeypatch.setattr(threads, "FRESH", 0.0)
    with chosen_threads():
        assert (torch.get_num_threads(), threads.all_threads()) == (1, 2)
        with chosen_threads():
            assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == 2


def test_the_environment_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(threads.FIXED, "all")
    monkeypatch.setattr(threads, "spare", lambda: pytest.fail("measured for nothing"))
    with chosen_threads():
        assert torch.get_num_threads() == 2


def test_restored_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "spare", lambda: False)
    with pytest.raises(ValueError, match="inside"), chosen_threads():
        raise ValueError("inside")
    assert torch.get_num_threads() == 2
