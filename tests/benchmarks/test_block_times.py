"""The XF block of stage 3 with every attention."""

import pytest
from timed_cases import ATTENTIONS, case, time_forward


@pytest.mark.parametrize("res", [128, 256])
@pytest.mark.parametrize("attn", ATTENTIONS)
def test_block(benchmark, attn, res):
    time_forward(benchmark, case(attn, "block", res))
