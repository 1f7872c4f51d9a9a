"""The commit that made it worse, found by halving: every step is the paired test of ``check --against``.

A commit is held against GOOD, side by side in one run. Where that test cannot tell, the search ends and says between
which commits the culprit lies: a guess would send somebody to read the wrong change.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from xbench.errors import UserError
from xbench.regression.against import code_of, compare_sides
from xbench.regression.session import Session, gated
from xbench.regression.slowdown import Verdict
from xbench.regression.verdicts import SEVEREST, CellKey, CellVerdict, accept
from xbench.regression.worktree import checked_out, commit_of, git
from xbench.study.files import load_study
from xbench.study.study import Study


@dataclass(frozen=True)
class Step:
    """A commit that was tried, what the first line of its message says, and what came of it."""

    commit: str
    subject: str
    verdict: Verdict
    findings: tuple[CellVerdict, ...]


@dataclass(frozen=True)
class Bisection:
    """What the search found.

    Attributes:
        steps: the commits tried, in that order, BAD first.
        culprit: the first commit that is worse; None where the search ended before.
        good, bad: the last commit that is not worse, and the first that is known to be.
        left: commits between these that were not decided.
        reason: why there is no culprit; empty where there is.
    """

    steps: tuple[Step, ...]
    culprit: Step | None
    good: str
    bad: str
    left: int
    reason: str = ""


def bisect(
    study_file: Path,
    good: str,
    bad: str,
    session: Session,
    *,
    intended: Sequence[str] = (),
    trying: Callable[[str, int], None] = lambda commit, left: None,
) -> Bisection:
    """Finds the first commit after ``good`` on the way to ``bad``, by first parents, that the study calls worse.

    Args:
        good, bad: whatever git understands as commits.
        intended: names of metrics that may change.
        trying: is told of every commit before it is tried, and how many are left.

    Raises:
        UserError: a bad study, a commit that cannot take part, or GOOD is no ancestor of BAD.
    """
    study = gated(load_study(study_file))
    commits = _between(good, bad)
    case = next(study.cases()).request()
    code = code_of(study)
    lost: set[CellKey] = set()  # places that have no figure at the end
    with checked_out(good, code, case) as before:

        def attempt(commit: str, asked: Study, places: Collection[CellKey] | None = None) -> Step:
            with checked_out(commit, code, case) as now:
                found = accept(compare_sides(asked, before, now, session, commit[:12]), intended)
            if places is not None:
                found = [_undecided_if_lost(one, lost) for one in found if one.place in places]
            verdicts = {finding.verdict for finding in found}
            severest: Verdict = next((verdict for verdict in SEVEREST if verdict in verdicts), "INCONCLUSIVE")
            subject = git("log", "-1", "--format=%s", commit, failing=f"cannot read {commit}")
            return Step(commit, subject, severest, tuple(found))

        trying(commits[-1], len(commits))
        last = attempt(commits[-1], study)
        steps = [last]
        if last.verdict != "FAIL":
            why = "not shown to be worse than" if last.verdict == "PASS" else "not decided against"
            reason = f"{bad} is {why} {good}: there is nothing to find."
            return Bisection((last,), None, good, bad, 0, reason)
        failed = [one for one in last.findings if one.verdict == "FAIL"]
        places, lost = {one.place for one in failed}, {one.place for one in failed if one.now is None}
        narrow = _narrowed(study, places)
        low, high, worst = -1, len(commits) - 1, last
        while high - low > 1:
            middle = (low + high) // 2
            trying(commits[middle], high - low - 1)
            step = attempt(commits[middle], narrow, places)
            steps.append(step)
            if step.verdict == "INCONCLUSIVE":
                ends = commits[low] if low >= 0 else good, commits[high]
                reason = (
                    f"{step.commit[:12]} ({step.subject}) cannot be told from {good} or from {bad}: run again on a "
                    "quieter machine."
                )
                return Bisection(tuple(steps), None, *ends, high - low - 1, reason)
            if step.verdict == "FAIL":
                high, worst = middle, step
            else:
                low = middle
    return Bisection(tuple(steps), worst, commits[low] if low >= 0 else good, commits[high], 0)


def _undecided_if_lost(finding: CellVerdict, lost: Collection[CellKey]) -> CellVerdict:
    """What does not run at a commit in between says nothing of a change that does."""
    if finding.verdict == "FAIL" and finding.now is None and finding.place not in lost:
        return replace(finding, verdict="INCONCLUSIVE")
    return finding


def _narrowed(study: Study, places: Collection[CellKey]) -> Study:
    """The arms and metrics that fail at the end: no others are measured on the way."""
    arms, metrics = ({getattr(place, name) for place in places} for name in ("arm", "metric"))
    kept = tuple(arm for arm in study.arms if arm.label in arms)
    return replace(
        study,
        arms=kept,
        against=study.against if study.against in arms else kept[0].label,
        metrics=tuple(name for name in study.metrics if name in metrics),
    )


def _between(good: str, bad: str) -> list[str]:
    """The commits after the first up to the second, oldest first."""
    ends = [commit_of(ref) for ref in (good, bad)]
    order = f"'{good}' is no ancestor of '{bad}': name the older commit first"
    git("merge-base", "--is-ancestor", *ends, failing=order)
    listed = git("rev-list", "--first-parent", "--reverse", f"{ends[0]}..{ends[1]}", failing="cannot list commits")
    if not listed:
        raise UserError(f"'{good}' and '{bad}' are one commit.")
    return listed.splitlines()
