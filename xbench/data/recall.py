"""Associative recall over a grid of tokens: some tell a value for a key, the others ask for the value of a key.

Key and value stand in one token, the tokens lie anywhere on the grid, and every grid draws keys and values of its own,
so that nothing can be learnt by heart: what answers is what a token finds in the others. It is multi-query associative
recall ("Zoology: Measuring and Improving Recall in Efficient Language Models", Arora et al., arXiv 2312.04927) without
its order in time, for attentions over images. It asks whether many tokens can each fetch what is theirs, exactly; it
says nothing of what averages, edges or positions are worth.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from xbench.data.chance import seed_of

KEY_DIM = 16  # numbers in a key
VALUES = 16  # values that a key can have
NOT_ASKED = -100  # in place of an answer; torch's cross entropy leaves it out


@dataclass(frozen=True)
class Grids:
    """``keys`` [B, N, KEY_DIM], ``values`` [B, N], and the ``answers`` [B, N] that are right.

    A token that asks has the value ``VALUES``, which is none; one that tells has no answer, ``NOT_ASKED``.
    """

    keys: Tensor
    values: Tensor
    answers: Tensor

    def to(self, device: torch.device | str) -> "Grids":
        return Grids(self.keys.to(device), self.values.to(device), self.answers.to(device))


def generator(split: str, seed: int) -> torch.Generator:
    """What the grids of a split are drawn from: "train", "val" and "test" have none in common."""
    return torch.Generator().manual_seed(seed_of("recall", split, seed) % 2**63)


def draw(grids: int, pairs: int, tokens: int, luck: torch.Generator) -> Grids:
    """So many grids of ``tokens`` tokens, ``pairs`` of which tell; the others ask for any of them.

    Keys are random directions of length √KEY_DIM, so that a number of them has unit variance.

    Raises:
        ValueError: no token is left to ask, or none tells.
    """
    if not 0 < pairs < tokens:
        raise ValueError(f"{tokens} tokens cannot hold {pairs} pairs and a question")
    asking = tokens - pairs
    told = F.normalize(torch.randn(grids, pairs, KEY_DIM, generator=luck), dim=-1) * KEY_DIM**0.5
    worth = torch.randint(VALUES, (grids, pairs), generator=luck)
    which = torch.randint(pairs, (grids, asking), generator=luck)
    asked = told.gather(1, which[..., None].expand(-1, -1, KEY_DIM))
    keys = torch.cat([told, asked], dim=1)
    values = torch.cat([worth, torch.full((grids, asking), VALUES)], dim=1)
    answers = torch.cat([torch.full((grids, pairs), NOT_ASKED), worth.gather(1, which)], dim=1)
    places = torch.rand(grids, tokens, generator=luck).argsort(dim=1)
    return Grids(
        keys.gather(1, places[..., None].expand(-1, -1, KEY_DIM)), values.gather(1, places), answers.gather(1, places)
    )


def guessing(pairs: int) -> tuple[float, float]:
    """Right answers in % of who knows nothing, and of who knows how often each value occurs and names the commonest.

    The second is the expected share of the largest of ``VALUES`` bins after ``pairs`` throws: the number of ways to
    throw without exceeding m in any bin is pairs! times a coefficient of (Σ xⁱ / i!, i ≤ m) to the power of ``VALUES``.
    """
    inverse = np.cumprod([1.0, *(1 / i for i in range(1, pairs + 1))])  # 1 / i!
    ways = 1.0 / inverse[-1] / float(VALUES) ** pairs
    expected = 0.0
    for most in range(pairs):  # E[max] = Σ P(max > m)
        power = np.ones(1)
        for _ in range(VALUES):
            power = np.convolve(power, inverse[: most + 1])[: pairs + 1]
        expected += 1 - (ways * power[pairs] if len(power) > pairs else 0.0)
    return 100 / VALUES, 100 * expected / pairs
