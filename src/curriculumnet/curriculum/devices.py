"""Where distances are computed: by the processor's cores, as machine code, or on a GPU, by torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from curriculumnet.curriculum.rows import Rows

if TYPE_CHECKING:
    from curriculumnet.curriculum.blocks import Blocks
    from curriculumnet.curriculum.cuda import CudaBlocks, CudaStrips
    from curriculumnet.curriculum.strips import Strips


@contextmanager
def all_pairs(rows: Rows, device: str) -> Iterator[Strips | CudaStrips]:
    """Compute the distances of all pairs of rows on a device.

    Parameters
    ----------
    rows : Rows
        Of which.
    device : str
        ``cpu``, ``cuda`` or ``cuda:N``.

    Raises
    ------
    ValueError
        There is no such device.
    MemoryError
        The GPU's memory is full.
    """
    if device == "cpu":
        from curriculumnet.curriculum.strips import Strips
        from curriculumnet.curriculum.threads import one_thread_per_product

        strips = Strips(rows)
        if strips.threads == 1:
            yield strips
        else:
            with one_thread_per_product():
                yield strips
    else:
        # Only here: torch takes seconds to load.
        from curriculumnet.curriculum.cuda import CudaStrips, on_gpu

        with on_gpu(device) as gpu:
            yield CudaStrips(rows, gpu)


@contextmanager
def some_pairs(rows: Rows, device: str) -> Iterator[Blocks | CudaBlocks]:
    """Compute the distances between some rows and others on a device; parameters and errors as of `all_pairs`."""
    if device == "cpu":
        from curriculumnet.curriculum.blocks import Blocks
        from curriculumnet.curriculum.threads import one_thread_per_product

        with one_thread_per_product():
            yield Blocks(rows)
    else:
        from curriculumnet.curriculum.cuda import CudaBlocks, on_gpu

        with on_gpu(device) as gpu:
            yield CudaBlocks(rows, gpu)
