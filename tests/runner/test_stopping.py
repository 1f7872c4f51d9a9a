"""Launches are spent where they are needed, and looked at only at fixed numbers."""

from dataclasses import replace

import pytest

from xbench.runner.stopping import Schedule
from xbench.study.request import StudyRequest, make_study


class FakeClock:
    total = 0.0


def run(study, budget, launch_seconds, precise):
    """Launches of each group, and the numbers at which its precision was looked at."""
    clock = FakeClock()
    schedule = Schedule(study, budget, clock)
    looks = []

    def look(group):
        looks.append(group.launches)
        return precise

    for launch in range(1, study.launches[-1] + 1):
        for group in schedule.groups:
            if group.launches == launch - 1 and schedule.worth_a_launch(group, look):
                group.launches, group.launch_seconds = launch, launch_seconds
                clock.total += launch_seconds
    return [group.launches for group in schedule.groups], set(looks), clock.total


@pytest.mark.parametrize(
    ("options", "budget", "launch_seconds", "precise", "launches"),
    [
        ({}, None, 1.0, False, 10),  # cheap and not precise: all
        ({}, None, 1.0, True, 6),
        ({}, None, 1000.0, False, 6),  # a claim is always measured
        ({}, 1.0, 1000.0, False, 3),  # what a look needs, always
        ({}, 650.0, 100.0, False, 6),
        ({"quick": True}, None, 1.0, False, 3),
    ],
)
def test_launches(options, budget, launch_seconds, precise, launches):
    study = make_study(StudyRequest(["xfa", "mhsa"], [64], **options))
    found, looks, _ = run(study, budget, launch_seconds, precise)
    assert found == [launches]
    assert looks <= {6, 10}


def test_a_budget_is_one_for_all_groups():
    study = make_study(StudyRequest(["xfa", "mhsa"], [64, 128, 256]))
    found, _, spent = run(study, 1300.0, 100.0, False)
    assert spent <= 1300.0
    assert sorted(found) == [3, 3, 6]


def test_a_group_with_nothing_but_its_control_is_left():
    study = make_study(StudyRequest(["xfa", "mhsa"], [64]))
    schedule = Schedule(study, None, FakeClock())
    (group,) = schedule.groups
    control = tuple(case for case in group.cases if case.arm.control)
    group.standing = replace(group.standing, open=control)
    assert not schedule.worth_a_launch(group, lambda group: False)
