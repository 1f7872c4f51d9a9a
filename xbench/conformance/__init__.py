"""The conformance kit: named checks that tell whether an attention is one, and what it says of itself is true.

On the command line ``xbench verify NAME…``. In the tests of a package of your own, with pytest:

    import pytest
    from xbench.conformance import CHECKS

    @pytest.mark.parametrize("check", CHECKS, ids=str)
    def test_my_attention(check):
        check("my_package.attention:MyAttention")  # or the class itself

A check that does not apply is skipped, with its reason. ``verify`` gives the findings of all checks as data, and
``judged`` says whether they are enough for a judgement.
"""

from collections.abc import Iterator, Sequence

from torch import nn

from xbench.conformance import behaviour, costs, gradients, interchange
from xbench.conformance.check import CHECKS, Candidate, Check, CheckFailed, Finding, judged

__all__ = ["CHECKS", "QUICK_CHECKS", "Candidate", "Check", "CheckFailed", "Finding", "judged", "verify"]

QUICK_CHECKS = [check for check in CHECKS if check.quick]

_ = behaviour, costs, gradients, interchange  # importing them filled CHECKS


def verify(attention: str | type[nn.Module] | Candidate, checks: Sequence[Check] | None = None) -> Iterator[Finding]:
    """The findings of the checks (all of them by default), each as soon as it is there.

    Args:
        attention: spec string or class; a ``Candidate`` to choose the widths.
    """
    candidate = attention if isinstance(attention, Candidate) else Candidate(attention)
    for check in CHECKS if checks is None else checks:
        yield check.examine(candidate)
