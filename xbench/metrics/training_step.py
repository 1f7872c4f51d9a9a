"""One step of training: forward pass and loss, backward pass, optimizer; timed apart.

The recipe is the common one, and only its cost matters here: AdamW (arXiv 1711.05101) on weights in fp32, and half
precision by autocast. torch's ``AdamW`` and not timm's ``create_optimizer_v2``: they differ in which weights decay,
which costs the same, and torch's runs on the meta device as on any other, so that a step can be predicted.
"""

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from xbench.errors import UserError

LEARNING_RATE = 1e-4  # small enough that random weights on a few images stay finite


class TrainingStep:
    """A model with its optimizer, ready to be trained on the same batch again and again.

    ``parts`` has the seconds spent in "forward" (with the loss), "backward" and "optimizer" (with setting gradients to
    None), summed over the steps so far; set them to zero at will. On CUDA a step waits for the device after each part.

    Args:
        model: its parameters are trained; they stay in fp32. The caller puts it into training mode.
        inputs: what ``model`` takes, on the same device.
        loss: of what ``model`` gives. None for maps or tokens, by mean square; the gradient then goes on to ``inputs``,
            as it does for a part in the middle of a model.
        dtype: that of autocast; float32 is none. float16 also scales gradients, and needs CUDA.
        forward: runs ``model`` on ``inputs``, for example compiled; ``model`` itself where none is given.

    Raises:
        UserError: float16 on the CPU; half precision on the meta device, where autocast does nothing.
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: Tensor,
        loss: Callable[[Tensor], Tensor] | None,
        dtype: torch.dtype = torch.float32,
        *,
        forward: Callable[[Tensor], Tensor] | None = None,
    ):
        device = inputs.device.type
        if dtype == torch.float16 and device == "cpu":
            raise UserError("training in fp16 needs CUDA; allowed on the CPU: fp32, bf16.")
        if dtype != torch.float32 and device == "meta":
            raise UserError("the memory of training can be predicted in fp32 only: autocast needs a device.")
        self.inputs = inputs.requires_grad_(loss is None)
        self._loss = loss or _mean_square
        self.forward = forward or model
        parameters = list(model.parameters())
        self.optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE) if parameters else None
        self.parts = {"forward": 0.0, "backward": 0.0, "optimizer": 0.0}
        # Autocast knows no "meta", and off it is the same for every device.
        place = "cpu" if device == "meta" else device
        self._autocast = torch.autocast(place, dtype=dtype, enabled=dtype != torch.float32)
        self._scaler = torch.amp.GradScaler(place, enabled=dtype == torch.float16)

    def step(self) -> Tensor:
        """Trains once and returns the loss, a scalar. No gradient is left."""
        started = self._now()
        with torch.enable_grad(), self._autocast:
            # The output has no name, so that it goes when autograd does not need it.
            loss = self._loss(self.forward(self.inputs))
        passed = self._now()
        self._scaler.scale(loss).backward()
        reached = self._now()
        if self.optimizer is not None:
            self._scaler.step(self.optimizer)
            self._scaler.update()
            self.optimizer.zero_grad(set_to_none=True)
        self.inputs.grad = None
        ended = self._now()
        for part, seconds in zip(self.parts, (passed - started, reached - passed, ended - reached), strict=True):
            self.parts[part] += seconds
        return loss.detach()

    def _now(self) -> float:
        if self.inputs.is_cuda:
            torch.cuda.synchronize(self.inputs.device)
        return time.perf_counter()


def _mean_square(output: Tensor) -> Tensor:
    return output.float().square().mean()
