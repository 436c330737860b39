"""Batches of pictures of several input sizes: as many as ceil(n / size), none much smaller than the others.

Pictures of one size go together; what is left over at the end goes together with the nearest sizes, padded. So a schedule knows its
steps, and batch normalisation never sees one or two pictures alone.
"""

from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

from torch import Tensor

from onelook.geometry.objects import Objects

Targets = Tensor | Sequence[Objects | Tensor]  # of a batch: a tensor (B, ...), or what moves with a view, one a picture
Item = TypeVar("Item")
Size = tuple[int, int]
WAITING = 4  # batches' worth of items that wait for their like at most


def batch_count(count: int, size: int) -> int:
    """How many batches of ``size`` at most ``count`` items make."""
    return max(1, -(-count // size))


class SizeBatcher(Generic[Item]):
    """Takes ``count`` items one by one with their input sizes, and gives back batches of ``size`` items at most.

    Batches differ by one item at most in length.
    """

    def __init__(self, count: int, size: int) -> None:
        number = batch_count(count, size)
        self._lengths = [count // number + (index < count % number) for index in range(number)]
        self._given = 0
        self._waiting: dict[Size, list[Item]] = {}

    def add(self, item: Item, size: Size) -> list[Item] | None:
        """A full batch, if there is one now."""
        bucket = self._waiting.setdefault(size, [])
        bucket.append(item)
        if self._given >= len(self._lengths):
            return None
        wanted = self._lengths[self._given]
        if len(bucket) >= wanted:
            self._given += 1
            batch, self._waiting[size] = bucket[:wanted], bucket[wanted:]
            return batch
        if sum(map(len, self._waiting.values())) >= WAITING * wanted:
            return self._nearest(wanted)
        return None

    def rest(self) -> Iterator[list[Item]]:
        """The batches that are left, when all items were given."""
        while any(self._waiting.values()):
            wanted = self._lengths[self._given] if self._given < len(self._lengths) else 1
            yield self._nearest(wanted)

    def _nearest(self, wanted: int) -> list[Item]:
        """A batch of neighbouring sizes, from the smallest on."""
        self._given += 1
        batch: list[Item] = []
        for size in sorted(self._waiting):
            taken, self._waiting[size] = self._waiting[size][: wanted - len(batch)], self._waiting[size][wanted - len(batch) :]
            batch += taken
            if len(batch) == wanted:
                break
        return batch
