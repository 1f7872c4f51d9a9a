"""Tasks over a grid of tokens: some tell, the others ask, and only what tells can answer.

Every grid draws keys and values of its own, and lays them anywhere, so that nothing can be learnt by heart and
attentions that need a grid have one. What answers is what a token finds in the others.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from xbench.data.chance import seed_of

KEY_DIM = 16  # numbers in a key
VALUES = 16  # values that a key can have
ASKS, LINKS = VALUES, VALUES + 1  # in place of a value
NOT_ASKED = -100  # in place of an answer; torch's cross entropy leaves it out


@dataclass(frozen=True)
class Grids:
    """``keys`` [B, N, 2, KEY_DIM], ``values`` [B, N], the ``answers`` [B, N] that are right, and which of them are
    ``counted`` [B, N].

    A token that asks has the value ``ASKS``; one that tells has no answer, ``NOT_ASKED``. The second key is that which
    a token with the value ``LINKS`` leads to, else 0. Answers that are not counted are taught, and not tested.
    """

    keys: Tensor
    values: Tensor
    answers: Tensor
    counted: Tensor

    def to(self, device: torch.device | str) -> "Grids":
        """The same on that device."""
        return Grids(*(getattr(self, field.name).to(device) for field in fields(self)))


@dataclass(frozen=True)
class Task:
    """``draw(grids, pairs, tokens, luck)`` makes so many grids, ``pairs`` of whose tokens tell.

    ``told(pairs)`` is how many values answers are chosen from.
    """

    draw: Callable[[int, int, int, torch.Generator], Grids]
    told: Callable[[int], int]


def generator(task: str, split: str, seed: int) -> torch.Generator:
    """What the grids of a split are drawn from: "train", "val" and "test" have none in common."""
    return torch.Generator().manual_seed(seed_of(task, split, seed) % 2**63)


def draw_recall(grids: int, pairs: int, tokens: int, luck: torch.Generator) -> Grids:
    """Associative recall: ``pairs`` tokens tell a value for a key, every other token asks for one of these keys.

    It is multi-query associative recall ("Zoology: Measuring and Improving Recall in Efficient Language Models", Arora
    et al., arXiv 2312.04927) without its order in time, key and value in one token, for attentions over images. It asks
    whether many tokens can each fetch what is theirs, exactly. It says nothing of what averages, edges or positions are
    worth, nor of tasks that take more than one look.

    Raises:
        ValueError: no token is left to ask, or none tells.
    """
    _check(0 < pairs < tokens, pairs, tokens)
    keys, values = _keys(grids, pairs, luck), torch.randint(VALUES, (grids, pairs), generator=luck)
    asked = torch.randint(pairs, (grids, tokens - pairs), generator=luck)
    answers = values.gather(1, asked)
    return _laid_out(
        [(keys, None, values)], _pick(keys, asked), answers, torch.ones_like(answers, dtype=torch.bool), luck
    )


def draw_two_hop(grids: int, pairs: int, tokens: int, luck: torch.Generator) -> Grids:
    """Two-hop recall: half of the ``pairs`` link a key to another key, the other half tell that one's value.

    Every other token asks for the value of a key: half of them by the first key of a link, and have to go by two
    tokens, which is what counts; half by the second, which takes one and is easier to learn first. It is induction over
    k hops, k ≤ 2 ("Transformers, parallel computation, and logarithmic depth", Sanford et al., arXiv 2402.09268), as
    recall over a grid. It asks whether what one layer fetched can be the next one's question: whether layers compose.
    It says little of how many pairs are told apart, and an attention that fails at recall fails here too.

    Raises:
        ValueError: no token is left to ask, or pairs do not make links and values.
    """
    _check(0 < pairs < tokens and not pairs % 2, pairs, tokens)
    half = pairs // 2
    first, second = _keys(grids, half, luck), _keys(grids, half, luck)
    values = torch.randint(VALUES, (grids, half), generator=luck)
    asked = torch.randint(half, (grids, tokens - pairs), generator=luck)
    far = torch.rand(grids, tokens - pairs, 1, generator=luck) < 0.5
    question = torch.where(far, _pick(first, asked), _pick(second, asked))
    answers = values.gather(1, asked)
    links = (first, second, torch.full((grids, half), LINKS))
    return _laid_out([links, (second, None, values)], question, answers, far.squeeze(-1), luck)


TASKS = {
    "recall": Task(draw_recall, told=lambda pairs: pairs),
    "two_hop": Task(draw_two_hop, told=lambda pairs: pairs // 2),
}


def guessing(task: str, pairs: int) -> tuple[float, float]:
    """Right answers in % of who knows nothing, and of who knows how often each value is told and names the commonest.

    The second is the expected share of the largest of ``VALUES`` bins after so many throws: the number of ways to throw
    without exceeding m in any bin is throws! times a coefficient of (Σ xⁱ / i!, i ≤ m) to the power of ``VALUES``.
    """
    throws = TASKS[task].told(pairs)
    inverse = np.cumprod([1.0, *(1 / i for i in range(1, throws + 1))])  # 1 / i!
    ways = 1.0 / inverse[-1] / float(VALUES) ** throws
    expected = 0.0
    for most in range(throws):  # E[max] = Σ P(max > m)
        power = np.ones(1)
        for _ in range(VALUES):
            power = np.convolve(power, inverse[: most + 1])[: throws + 1]
        expected += 1 - (ways * power[throws] if len(power) > throws else 0.0)
    return 100 / VALUES, 100 * expected / throws


def _check(possible: bool, pairs: int, tokens: int) -> None:
    if not possible:
        raise ValueError(f"{tokens} tokens cannot hold {pairs} pairs and a question")


def _keys(grids: int, number: int, luck: torch.Generator) -> Tensor:
    """Random directions of length √KEY_DIM, so that a number of them has unit variance: [B, number, KEY_DIM]."""
    return F.normalize(torch.randn(grids, number, KEY_DIM, generator=luck), dim=-1) * KEY_DIM**0.5


def _pick(keys: Tensor, which: Tensor) -> Tensor:
    return keys.gather(1, which[..., None].expand(-1, -1, keys.shape[-1]))


def _laid_out(
    telling: list[tuple[Tensor, Tensor | None, Tensor]],
    question: Tensor,
    answers: Tensor,
    counted: Tensor,
    luck: torch.Generator,
) -> Grids:
    """Tokens that tell (key, second key, value) and tokens that ask, anywhere on the grid."""
    told = [torch.stack([key, torch.zeros_like(key) if other is None else other], dim=2) for key, other, _ in telling]
    keys = torch.cat([*told, torch.stack([question, torch.zeros_like(question)], dim=2)], dim=1)
    worth = torch.cat([value for *_, value in telling], dim=1)
    values = torch.cat([worth, torch.full_like(answers, ASKS)], dim=1)
    right = torch.cat([torch.full_like(worth, NOT_ASKED), answers], dim=1)
    matters = torch.cat([torch.zeros_like(worth, dtype=torch.bool), counted], dim=1)
    places = torch.rand(values.shape, generator=luck).argsort(dim=1)
    moved = keys.gather(1, places[..., None, None].expand_as(keys))
    return Grids(moved, *(part.gather(1, places) for part in (values, right, matters)))
