"""A check against committed records: a folder with a study and what it gave when it was last found right.

Exact figures repeat anywhere under equal conditions, so they are held against the committed ones. Times do so on the
same machine only, and even there another hour is another machine: ``against`` is the better judge of them.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from xbench.analysis.results import Results
from xbench.analysis.runs import newest
from xbench.attention.spec import parse_attention
from xbench.errors import UserError
from xbench.files.run_folders import LEDGER
from xbench.files.writing import check_target, write_file
from xbench.metrics.definitions import METRICS
from xbench.records.ledger import read_records
from xbench.records.provenance import unlike
from xbench.records.record import Record
from xbench.regression.session import RERUN, Session, gated, timed_metrics
from xbench.regression.slowdown import unpaired
from xbench.regression.times import Timed, judge_times, void
from xbench.regression.verdicts import CellKey, CellVerdict, CheckResult, accept, judge
from xbench.signals import held
from xbench.study.files import read_request, study_text
from xbench.study.request import StudyRequest, make_study
from xbench.study.study import Study

STUDY = "study.toml"
BASELINES = Path("results", "baselines")
HINT = "A change that is meant: xbench baseline update {}"


def check_baseline(folder: Path, session: Session, *, intended: Sequence[str] = ()) -> CheckResult:
    """Measures the study of the folder and holds it against the folder's records.

    Raises:
        UserError: the folder holds no baseline, or its study is bad.
    """
    before = read_baseline(folder)
    study = _study_of(folder)
    results = session.measure(study) if study else Results([])
    findings, timed = compare(before, results, session.effect)

    def run_again(suspected: set[CellKey]) -> dict[CellKey, Timed]:
        found: dict[CellKey, Timed] = {}
        for place in timed:
            if study and place in suspected and place not in found:
                narrow = replace(study.at(place.conditions), metrics=timed_metrics(study))
                found |= compare(before, session.measure(narrow, RERUN), session.effect)[1]
        return found

    findings += judge_times(timed, session.effect, run_again)
    hint = HINT.format(folder)
    return CheckResult(tuple(accept(findings, intended)), str(folder), session.effect, session.folder, hint)


def read_baseline(folder: Path) -> Results:
    """The committed records.

    Raises:
        UserError: there are none, or not the study that they belong to.
    """
    if not (folder / STUDY).is_file() or not (folder / LEDGER).is_file():
        known = ", ".join(str(path.parent) for path in sorted(BASELINES.glob(f"*/{STUDY}"))) or "none"
        raise UserError(
            f"{folder} holds no baseline, which is {STUDY} and {LEDGER}. Baselines here: {known}. "
            "Make one: xbench baseline update FOLDER --study STUDY"
        )
    return Results(newest(read_records([folder / LEDGER])))


def _study_of(folder: Path) -> Study | None:
    """The folder's study without attentions that exist no more, which have vanished; None where nothing is left."""
    request = read_request(folder / STUDY)
    known = [name for name in request.attn if _exists(name)]
    if not known and not request.model:
        return None
    if len(known) < len(request.attn):
        request = replace(request, attn=known, reference=None)
    try:
        return gated(make_study(request))
    except UserError as error:
        raise UserError(f"{folder / STUDY}: {error}") from error


def _exists(name: str) -> bool:
    try:
        parse_attention(name)
    except UserError:
        return False
    return True


def compare(before: Results, now: Results, effect: float) -> tuple[list[CellVerdict], dict[CellKey, Timed]]:
    """The verdicts that need no interval, and the times that both sides have."""
    findings: list[CellVerdict] = []
    timed: dict[CellKey, Timed] = {}
    for place in _places(before, now):
        old, new = (side.cell(place.conditions, place.arm, place.metric) for side in (before, now))
        records = [side.measured(place.conditions, place.arm, place.metric) for side in (before, now)]
        differences = unlike(records[0][-1], records[1][-1]) if all(records) else []
        if differences and not METRICS[place.metric].exact:
            differences.append("--against measures both sides here")
        finding = judge(place, old, new, differences)
        if finding is None:
            timed |= _timed(place, before, now, effect)
        else:
            findings.append(finding)
    return findings, timed


def _timed(place: CellKey, before: Results, now: Results, effect: float) -> dict[CellKey, Timed]:
    samples = [side.samples(place.conditions, place.arm, place.metric) for side in (now, before)]
    longer, than = samples if METRICS[place.metric].better == "lower" else reversed(samples)
    slowdown = unpaired(longer, than, effect)
    if slowdown is None:
        return {}
    cells = (side.cell(place.conditions, place.arm, place.metric) for side in (before, now))
    old, new = (cell.figure if cell else None for cell in cells)
    why = (void(side.control_ratio(place.conditions), effect) for side in (now, before))
    return {place: Timed(old, new, slowdown, next(filter(None, why), ""))}


def _places(before: Results, now: Results) -> list[CellKey]:
    found: dict[CellKey, None] = {}
    for side in (before, now):
        for conditions in side.conditions:
            for arm in side.arms:
                for metric in side.metrics:
                    if side.cell(conditions, arm, metric):
                        found[CellKey(arm, conditions, metric)] = None
    return list(found)


@dataclass(frozen=True)
class Renewal:
    """A baseline measured anew, not written yet: its study, its records, and these held against those that are there.

    Of times no verdict is asked, because they are to be replaced.
    """

    folder: Path
    request: StudyRequest
    records: list[Record]
    findings: list[CellVerdict]

    def write(self) -> None:
        """Puts the new study and records in place of the old ones.

        Raises:
            UserError: the folder cannot be written.
        """
        lines = "".join(json.dumps(asdict(record), allow_nan=False) + "\n" for record in self.records)
        with held():
            # The records last: a study without the records that belong to it says so, and not the other way round.
            write_file(self.folder / STUDY, study_text(self.request))
            write_file(self.folder / LEDGER, lines)


def check_place(folder: Path) -> None:
    """Refuses to make a baseline of what is none: before it is measured.

    Raises:
        UserError: the folder holds a run, or cannot be written.
    """
    if (folder / LEDGER).exists() and not (folder / STUDY).exists():
        raise UserError(f"{folder} holds a run, whose records nothing replaces; name another folder for the baseline.")
    check_target(folder / STUDY, force=True)


def renew(folder: Path, study_file: Path | None, session: Session) -> Renewal:
    """Measures a baseline anew, or a new one.

    Args:
        study_file: what to measure; the study that the baseline has where none is named.

    Raises:
        UserError: neither a study nor a baseline is there, the study is bad, or nothing could be measured.
    """
    check_place(folder)
    there = study_file is None or (folder / STUDY).exists()
    before = read_baseline(folder) if there else Results([])
    request = read_request(study_file or folder / STUDY)
    study = gated(make_study(request))
    results = session.measure(study)
    records = [record for record in results.records if record.case]
    if not any(record.samples for record in records):
        raise UserError("nothing could be measured, so there is nothing to write; the reasons stand above.")
    findings, timed = compare(before, results, session.effect)
    for place, time in timed.items():
        reason = time.void or "a time"
        findings.append(CellVerdict(place, "INCONCLUSIVE", reason, time.before, time.now, time.slowdown.times))
    # Defaults that depend on the machine are written down, so that another one measures the same.
    return Renewal(folder, replace(request, threads=study.threads), records, findings)
