"""A model in an engine is the model: its outputs are torch's, whatever the size of the batch."""

import pytest
import torch

from xbench.engines.exports import Deployed
from xbench.models import build_model

for package in ("onnx", "onnxscript", "onnxruntime", "openvino"):
    pytest.importorskip(package)


@pytest.mark.parametrize(("mode", "close"), [("onnxruntime", 1e-4), ("openvino", 1e-4), ("onnxruntime_int8", 0.3)])
def test_a_deployed_model_takes_smaller_batches(mode, close, tmp_path):
    torch.manual_seed(0)
    model = build_model("xfa", size="xxs", num_classes=10).eval().requires_grad_(False)
    batches = [torch.rand(4, 3, 32, 32) for _ in range(2)]
    deployed = Deployed(mode, model, batches, 1, tmp_path)
    assert deployed.off <= close
    assert (deployed.off > 1e-3) == mode.endswith("_int8")
    for count in (4, 1, 3):
        found, expected = deployed(batches[1][:count]), model(batches[1][:count])
        assert found.shape == (count, 10)
        assert float((found - expected).abs().max() / expected.abs().max()) <= close
