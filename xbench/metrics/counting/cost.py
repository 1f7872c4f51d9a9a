"""What a model costs on paper: parameters and multiply–accumulates (MACs; FLOPs = 2 × MACs), counted without a run.

No counter is right for every model, so the figure has two sources. Inside an attention the truth is the variant's own
closed formula, ``macs(grid)``; everywhere else it is the count of what torch dispatches, by rules of our own, which are
the same on every version of torch (see ``products``). fvcore and ptflops cross-check both, and each counter says which
operations it met and has no rule for (see ``counters``). MACs are those of matrix products, convolutions and attention,
and of whatever else a closed formula includes; norms, activations, softmax and additions are not. An operation that may
multiply and that no rule knows makes the figure "at least".

Everything happens in evaluation mode, and on the meta device, where no tensor is ever allocated, but for models that
need real ones.
"""

import copy
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from xbench.errors import UserError
from xbench.metrics.counting import functions
from xbench.metrics.counting.counters import AttentionCall, Count, UncountedOp, count_fvcore, count_ptflops, tally_torch
from xbench.metrics.counting.tally import Footprint
from xbench.metrics.memory import resident_bytes
from xbench.models.alone import Alone
from xbench.models.layers import XFLayer

# A formula or counter further than this from what it is compared with is named in ``Cost.disagreements``.
TOLERANCE = 0.02

# A product that is left out and takes more than this share of the MACs is named.
WORTH_NAMING = 0.01

PRODUCTS = ("mm", "matmul", "einsum", "conv", "linear", "attention")


class CostError(ValueError):
    """The cost cannot be stated: torch cannot run the model on the meta device, or an attention counts as zero."""


@dataclass(frozen=True)
class Cost:
    """Parameters and MACs of one image (batch 1). JSON-friendly through ``dataclasses.asdict``.

    ``macs`` is the main figure: torch's count outside the attention plus the closed formula inside it. ``at_least``
    names the operations that may multiply and that no rule knows: with any, ``macs`` is a lower bound. Those inside a
    closed formula are not among them, because the formula stands for them. ``left_out`` are products of data that are
    no matrix products and that neither formula nor count includes (elementwise products, interpolation, Fourier
    transforms), by name, with their estimated MACs relative to ``macs`` where that is more than ``WORTH_NAMING``.

    ``attention_formula`` is the closed formula summed over all layers and sequences; None where the model has no
    attention of ours, or the attention has no ``macs`` method and torch's count stands in for it. ``attention_torch``,
    ``attention_fvcore`` and ``attention_ptflops`` are what each counter saw inside the same modules (None without an
    attention of ours), and ``formula_agreement`` is attention_torch / attention_formula.

    ``counters`` holds the whole-model MACs of "torch" and, where they were asked, of "fvcore" and "ptflops", None where
    one failed, with the reason in ``failures``; ``uncounted`` what each has no rule for; ``disagreements`` a sentence
    for each failure and for each figure that differs by more than ``TOLERANCE``.
    """

    params: int
    macs: int
    at_least: tuple[str, ...]
    left_out: dict[str, float]
    attention_formula: int | None
    attention_torch: int | None
    attention_fvcore: int | None
    attention_ptflops: int | None
    formula_agreement: float | None
    counters: dict[str, int | None]
    failures: dict[str, str]
    uncounted: dict[str, tuple[UncountedOp, ...]]
    disagreements: tuple[str, ...]


def count_params(model: nn.Module) -> int:
    """Number of parameters; one that several modules share counts once."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_cost(model: nn.Module, inputs: Tensor, *, cross_check: bool = True) -> Cost:
    """Counts a model for one input. Leaves it as it was.

    Args:
        model: a whole model, one block of it, or an attention in ``models.alone.Alone``.
        inputs: an image [1, 3, H, W], a map [1, C, h, w] for a block, [B, N, C] for an attention; on the meta device,
            or on the CPU for a model that does not run there.
        cross_check: also count by fvcore and ptflops, which takes several times as long. They may fail on a model;
            that is part of the answer. Torch's count may not.

    Raises:
        CostError: the model is not on the device of the input, torch cannot run it there, an attention's ``macs``
            fails, or an attention counts as zero, by its formula or by torch.
        UserError: an attention refuses this number of tokens.
    """
    return cost_and_footprint(model, inputs, cross_check=cross_check)[0]


def cost_and_footprint(model: nn.Module, inputs: Tensor, *, cross_check: bool = False) -> tuple[Cost, Footprint]:
    """``count_cost`` and, from the same single forward, the predicted memory and traffic of inference on ``inputs``
    (see ``counting.tally.predict`` for what the weights should be). Both also with real
    tensors, for models that need them.

    Raises:
        CostError, UserError: as ``count_cost``.
    """
    if any(tensor.device != inputs.device for tensor in (*model.parameters(), *model.buffers())):
        raise CostError(f"the model must be on the device of its input, {inputs.device}")
    attentions = _attentions(model)
    try:
        # Without gradients, so that nothing lives that inference would let go.
        with torch.inference_mode(False), torch.no_grad(), _evaluating(model):
            main, tally = tally_torch(model, inputs, attentions)
    except UserError:
        raise  # an attention that refuses this number of tokens says so itself
    except Exception as error:
        where = " on the meta device" if inputs.is_meta else ""
        raise CostError(f"torch cannot count this model{where}: {_reason(error)}") from error
    counts: dict[str, Count | None] = {"torch": main}
    failures: dict[str, str] = {}
    if cross_check:
        others, failures = _count_others(model, inputs)
        counts |= others
    formulas = [_formula(call, attentions[call.name]) for call in main.calls]
    known = [(formula, call) for formula, call in zip(formulas, main.calls, strict=True) if formula is not None]
    formula = sum(stated for stated, _ in known) if known and len(known) == len(formulas) else None
    macs = main.total + sum(stated - call.macs for stated, call in known)
    vouched = sum((call.unknown for _, call in known), Counter())
    left_out = main.left_out - sum((call.left_out for _, call in known), Counter())
    inside = {name: found.attention if found and main.calls else None for name, found in counts.items()}
    cost = Cost(
        params=count_params(model),
        macs=macs,
        at_least=tuple(sorted(main.unknown - vouched)),
        left_out={name: n / max(macs, 1) for name, n in left_out.most_common() if n > WORTH_NAMING * macs},
        attention_formula=formula,
        attention_torch=inside["torch"],
        attention_fvcore=inside.get("fvcore"),
        attention_ptflops=inside.get("ptflops"),
        formula_agreement=main.attention / formula if formula else None,
        counters={name: found.total if found else None for name, found in counts.items()},
        failures=failures,
        uncounted={name: found.uncounted for name, found in counts.items() if found},
        disagreements=_vouched(vouched) + _disagreements(macs, formula, inside, counts, failures),
    )
    return cost, tally.footprint(resident_bytes(model, inputs))


def _attentions(model: nn.Module) -> dict[str, nn.Module]:
    """The attentions of the contract in a model, by name; one that several layers share is there once."""
    found: dict[nn.Module, str] = {}
    for name, module in model.named_modules():
        if isinstance(module, XFLayer):
            found.setdefault(module.attn, f"{name}.attn".removeprefix("."))
        elif isinstance(module, Alone):
            found.setdefault(module.attention, f"{name}.attention".removeprefix("."))
    return {name: attention for attention, name in found.items()}


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode, and each of its modules as it was afterwards."""
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, was in training.items():
            module.training = was


def _count_others(model: nn.Module, inputs: Tensor) -> tuple[dict[str, Count | None], dict[str, str]]:
    """The counts by fvcore and ptflops, None where one fails, and why; of a copy, because tracing leaves its marks.

    Neither has a rule for fused attention, so they are shown its parts.
    """
    counts: dict[str, Count | None] = {"fvcore": None, "ptflops": None}
    failures = {}
    with torch.inference_mode(False), torch.enable_grad(), functions.taken_apart(), warnings.catch_warnings():
        # Importing fvcore and tracing warn of deprecated and data-dependent things that do not touch a count.
        warnings.simplefilter("ignore")
        scratch = copy.deepcopy(model).eval()
        attentions = _attentions(scratch)
        for name, count in (("fvcore", count_fvcore), ("ptflops", count_ptflops)):
            try:
                counts[name] = count(scratch, inputs, attentions)
            except Exception as error:
                failures[name] = _reason(error)
    return counts, failures


def _formula(call: AttentionCall, attention: nn.Module) -> int | None:
    """The closed formula for all sequences of the call; None if the attention has none.

    A formula that states work where torch counts none is believed, because elementwise products and pooling are not
    counted; the difference shows among the disagreements.
    """
    closed_form = getattr(attention, "macs", None)
    if closed_form is None:
        if call.macs == 0:
            because = f": no rule knows {', '.join(sorted(call.unknown))}" if call.unknown else ""
            raise CostError(f"attention '{call.name}' has no macs() of its own and torch counts none in it{because}")
        return None
    try:
        macs = call.sequences * int(closed_form(call.grid))
    except Exception as error:
        raise CostError(f"attention '{call.name}': macs({call.grid}) failed: {_reason(error)}") from error
    if macs <= 0:
        raise CostError(f"attention '{call.name}' states {macs} multiply–accumulates, which no attention has")
    if macs < (1 - TOLERANCE) * call.macs:
        raise CostError(
            f"attention '{call.name}' states {macs} multiply–accumulates and torch counts {call.macs} in it"
        )
    return macs


def _vouched(unknown: Counter[str]) -> tuple[str, ...]:
    if not unknown:
        return ()
    return (f"the attention's closed formula alone stands for {', '.join(sorted(unknown))}, which no rule knows",)


def _disagreements(
    macs: int,
    formula: int | None,
    inside: dict[str, int | None],
    counts: dict[str, Count | None],
    failures: dict[str, str],
) -> tuple[str, ...]:
    found = [f"{name} could not count this model: {reason}" for name, reason in failures.items()]
    for name, count in counts.items():
        if count is None:
            continue
        products = [op.op for op in count.uncounted if any(word in op.op for word in PRODUCTS)]
        because = f"; it has no rule for {', '.join(products)}" if products else ""
        counted = inside[name]
        if formula and counted is not None and abs(counted / formula - 1) > TOLERANCE:
            found.append(f"{name} counts {counted / formula:.3f} × the attention's closed formula{because}")
        if macs and abs(count.total / macs - 1) > TOLERANCE:
            found.append(f"{name} counts {count.total / macs:.3f} × the model's MACs{because}")
    return tuple(found)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0]
