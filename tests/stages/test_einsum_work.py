"""Work of sums over named indices: by their equation, and as torch does them."""

from __future__ import annotations

import pytest
import torch

from edgepipe_stages._graph.einsum import einsum_macs
from edgepipe_stages._macs import _Counter


@pytest.mark.parametrize(
    ("equation", "shapes", "macs"),
    [
        ("ij,jk->ik", [(2, 3), (3, 5)], 2 * 3 * 5),
        ("ij, kj -> ik", [(2, 3), (5, 3)], 2 * 3 * 5),
        ("...ij,jk", [(7, 2, 3), (3, 5)], 7 * 2 * 3 * 5),
        ("...ij,...jk->...ik", [(7, 1, 2, 3), (6, 3, 5)], 7 * 6 * 2 * 3 * 5),
        ("ij,jk,kl->il", [(2, 3), (3, 5), (5, 7)], 2 * 3 * 5 + 2 * 5 * 7),
        ("i,i->", [(9,), (9,)], 9),
        # Elements are multiplied, or added, and no more.
        ("i,j->ij", [(4,), (5,)], 0),
        ("ij,ij->ij", [(4, 5), (4, 5)], 0),
        ("ii->", [(4, 4)], 0),
        ("ij->j", [(4, 5)], 0),
        ("ij,k->k", [(4, 5), (6,)], 0),
        # 'l' is summed over before.
        ("ij,jl->i", [(2, 3), (3, 9)], 2 * 3),
        ("ij,jk->ik", [(2, 1), (1, 5)], 0),
    ],
)
def test_sums(equation: str, shapes: list[tuple[int, ...]], macs: int) -> None:
    assert einsum_macs(equation, shapes) == macs
    operands = [torch.ones(shape) for shape in shapes]
    with _Counter() as counter:
        torch.einsum(equation, *operands)
    assert counter.macs == macs
