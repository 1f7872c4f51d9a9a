"""Every attention alone, a sequence of tokens."""

import pytest
from timed_cases import ATTENTIONS, case, time_forward


@pytest.mark.parametrize("tokens", [256, 1024])
@pytest.mark.parametrize("attn", ATTENTIONS)
def test_attention(benchmark, attn, tokens):
    time_forward(benchmark, case(attn, "op", tokens))
