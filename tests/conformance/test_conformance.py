"""Every check passes what is sound and catches what was broken for it; verify shows both, with exit codes."""

import json
from unittest import SkipTest

import broken_attentions as broken
import pytest
from torch import nn
from typer.testing import CliRunner

from xbench.attention.registry import catalogue
from xbench.cli.verbs import app
from xbench.conformance import CHECKS, QUICK_CHECKS, Candidate, CheckFailed, verify
from xbench.conformance.costs import stated_exponent

BY_NAME = {check.name: check for check in CHECKS}
# What test_zoo does not ask already, and what is quick.
FOR_ALL = [*QUICK_CHECKS, *map(BY_NAME.get, ("non-square grids", "gradients", "cost formula", "growth in N", "ONNX"))]

FAULTS = [
    ("shapes", broken.LosesTokens, "returned [1, 1, 24] for [1, 4, 24] on a grid of 2 × 2"),
    ("shapes", broken.ChangesItsInput, "changed its input in place"),
    ("shapes", broken.RefusesEverything, "refuses every grid that was tried: planted refusal"),
    ("non-square grids", broken.TakesGridsForSquares, "RuntimeError: unflatten"),
    ("batch independence", broken.MixesTheBatch, "a sequence in a batch and alone: differs by"),
    ("determinism", broken.IsRandom, "gave another output the second time"),
    ("determinism", broken.Remembers, "gave another output the second time"),
    ("finite in fp32", broken.DividesByLength, "output for zero tokens: NaN in"),
    ("finite in fp32", broken.GradientOfZeroLength, "gradient in the input for zero tokens: NaN in"),
    ("finite in bf16", broken.LosesHalfPrecision, "differs from fp32 by"),
    ("autocast", broken.InsistsOnOneType, "RuntimeError: index_add"),
    ("train and eval", broken.DiffersInTraining, "training mode: differs by"),
    ("strides", broken.ReadsMemoryAsItLies, "RuntimeError: view size is not compatible"),
    ("other N than in training", broken.FixesItsN, "RuntimeError: The size of tensor"),
    ("cost formula", broken.StatesTwice, "torch counts 0.500 of that"),
    ("cost formula", broken.StatesNothing, "an attention that costs nothing is an error"),
    ("growth in N", broken.WorksMoreThanItStates, "states O(N), but grows as N^2.00 in work"),
    ("growth in N", broken.RemembersMoreThanItStates, "states O(N), but grows as N^1.00 in work and N^1.9"),
    ("gradients", broken.WrongGradient, "gradient in 'input' along a direction is"),
    ("gradients", broken.GradientMixesTheBatch, "gradient in 'input' along a direction is"),
    ("gradients", broken.InventsAGradient, "gradient in 'idle' along a direction is"),
    ("gradients", broken.LeavesDouble, "returned torch.float32 for torch.float64"),
    ("reference", broken.DiffersFromItsReference, "output, against the reference: differs by 1.0e-03"),
    ("reference", broken.SlopeDiffersFromItsReference, "gradient in 'input', against the reference"),
    ("state dict", broken.KeepsWeightsOutside, "after loading the saved weights: differs by"),
    ("deep copy", broken.CannotBeCopied, "RuntimeError: Only Tensors created explicitly"),
    ("deep copy", broken.SharesWithItsCopy, "the copy, after the original changed: differs by"),
    ("torch.compile", broken.BranchesOnValues, "does not compile"),
    ("torch.export", broken.BranchesOnValues, "cannot be exported"),
    ("ONNX", broken.BranchesOnValues, "cannot be exported"),
    ("ONNX", broken.ExportsAnother, "exported: differs by"),
]


@pytest.mark.parametrize("check", CHECKS, ids=str)
def test_a_sound_attention_passes(check):
    check(broken.Sound)


@pytest.mark.parametrize(("name", "fault", "reason"), FAULTS, ids=[f"{name}-{cls.__name__}" for name, cls, _ in FAULTS])
def test_a_fault_is_caught(name, fault, reason):
    finding = BY_NAME[name].examine(Candidate(fault))
    assert finding.outcome == "fail", finding
    assert reason in finding.reason


def test_a_gradient_of_zero_is_no_fault():
    finding = BY_NAME["gradients"].examine(Candidate(broken.HasAnIdleBias))
    assert finding.outcome == "pass", finding


def test_every_check_has_a_fault_to_catch():
    assert {name for name, _, _ in FAULTS} == set(BY_NAME)
    assert {check.name for check in QUICK_CHECKS} == {"shapes", "batch independence", "determinism", "finite in fp32"}


def test_a_failed_check_is_an_assertion_and_one_that_does_not_apply_a_skip():
    with pytest.raises(CheckFailed, match="differs by"):
        BY_NAME["batch independence"](broken.MixesTheBatch)
    assert issubclass(CheckFailed, AssertionError)
    with pytest.raises(SkipTest, match="no reference"):
        BY_NAME["reference"]("mhsa")


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_the_catalogue_conforms(name):
    found = list(verify(name, FOR_ALL))
    assert [finding for finding in found if finding.outcome == "fail"] == []
    assert sum(finding.outcome == "pass" for finding in found) >= len(found) - 1


def test_dropout_and_refusals_are_skips_with_a_reason():
    class Dropping(broken.Unsound):
        def spoil(self, x, y, grid):
            return nn.functional.dropout(y, 0.5, self.training)

    assert BY_NAME["train and eval"].examine(Candidate(Dropping)).outcome == "skip"
    small = BY_NAME["growth in N"].examine(Candidate("linformer:tokens=64"))
    assert (small.outcome, small.reason) == ("pass", "N^1.00 in work")
    refused = BY_NAME["strides"].examine(Candidate("linformer:tokens=4"))
    assert refused.outcome == "skip"
    assert "built for at most 4 tokens" in refused.reason


def test_what_cannot_be_built_fails_every_check_with_the_reason():
    found = list(verify("xfa:kernel=2", QUICK_CHECKS))
    assert {finding.outcome for finding in found} == {"fail"}
    assert all("kernel must be odd" in finding.reason for finding in found)


@pytest.mark.parametrize(
    ("cost", "exponent"),
    [("O(N)", 1), ("O(N²)", 2), ("O(N log N)", 1), ("O(N^1.5)", 1.5), ("O(1)", 0), ("linear", None), ("O(N·r)", None)],
)
def test_stated_costs_are_read(cost, exponent):
    assert stated_exponent(cost) == exponent


def test_a_module_of_one_grid_is_checked_on_that():
    candidate = Candidate("timm.models.swin_transformer:WindowAttention")
    assert candidate.grid == (7, 7)
    found = {finding.check: finding.outcome for finding in verify(candidate, FOR_ALL)}
    assert found["gradients"] == found["batch independence"] == found["determinism"] == "pass"


def test_the_spec_decides_the_number_of_heads():
    assert Candidate("xfa:num_heads=3").widths == {"embed_dim": 18, "qkv_dim": 12, "num_heads": 3}


def test_verify_lists_checks_and_ends_with_0_1_or_4(monkeypatch):
    monkeypatch.setattr("xbench.conformance.CHECKS", QUICK_CHECKS)
    monkeypatch.setattr("xbench.report.tables.verification.CHECKS", QUICK_CHECKS)
    good = CliRunner().invoke(app, ["verify", "pool"])
    assert good.exit_code == 0
    assert "✓        batch independence" in good.stdout
    assert "1 attention, 4 checks each: none failed." in good.stdout

    both = CliRunner().invoke(app, ["verify", "pool", "broken_attentions:MixesTheBatch"])
    assert both.exit_code == 1
    assert "✗ fails  batch independence: a sequence in a batch and alone" in both.stdout
    assert max(map(len, both.stdout.splitlines())) <= 100

    # Grids of up to 4 tokens, which one check of the four tries.
    unknown = CliRunner().invoke(app, ["verify", "linformer:tokens=4"])
    assert unknown.exit_code == 4
    assert "none failed; linformer:tokens=4 cannot be judged, most checks were skipped." in " ".join(
        unknown.stdout.split()
    )

    lines = CliRunner().invoke(app, ["verify", "broken_attentions:MixesTheBatch", "--json"])
    outcomes = {finding["check"]: finding["outcome"] for finding in map(json.loads, lines.stdout.splitlines())}
    assert outcomes == {"shapes": "pass", "batch independence": "fail", "determinism": "pass", "finite in fp32": "pass"}
