"""How the figures were taken, in words: the protocol, what else to know of a metric, on what and with what they ran."""

from xbench.analysis.results import Results
from xbench.metrics.definitions import METRICS
from xbench.processes.policy import STOCK
from xbench.wording.numbers import show_seconds

PROTOCOL = """\
Every launch starts a fresh process per arm; within a launch the arms take turns in random order, one short block each,
and none begins before the threads of the last have gone to sleep.
A ratio is the median of the paired log-ratios of a launch (for device time, the ratio of the launch's medians); its
interval (95 %, Student's t) is over launches. MACs and peak memory are exact, the latter from a process of its own.
FLOPs = 2 × MACs. 1 MiB = 2²⁰ bytes."""

EXPLAINED = {
    "predicted_memory": """\
Predicted memory is found on paper: the tensors of a step are followed on the meta device, from where they are made to
where the last use ends. It is a lower bound, because the scratch memory of kernels does not show there.""",
    "max_batch": """\
The largest batch is found by trying: the largest whose measured peak memory stays within the limit.""",
    "forward_time": """\
A training step is a forward pass with its loss, a backward pass and a step of the optimizer. Throughput in training
is that of the whole step; its parts are timed in the same blocks.""",
    "stock_latency": """\
What a plain script gets is measured in processes of their own, in which nothing is set but the number of threads: one
after the other, in two or three of the launches.""",
    "energy": """\
Energy is what the machine's own counter says of the whole processor, or of the whole GPU, while steps are repeated for
two seconds, three times a launch: with all that ran beside them, and with what is taken at rest.""",
    "breakdown": """\
The time by component is that of an instrumented forward pass in eager mode: a module's time is its own, without that of
the modules inside it. What the instruments themselves take makes it longer than the time that throughput tells.""",
    "recall": """\
Recall: a token that asks must be given the value of its key, which another token of the grid tells. Keys are random
directions, new on every grid. Figures are means over seeds with 95 % intervals, as those of accuracy. Blind guessing is
right in one of 16 cases; who only knows how often each value occurs names the commonest.""",
    "two_hop": """\
Two-hop recall: half of the tokens that tell link a key to another, half tell a value; who asks holds the first key of a
link, so that one fetch has to follow another. The pairs are both kinds together.""",
    "top1": """\
Accuracy is top-1 on test images that no arm was trained or chosen on, as a mean over seeds with its interval
(95 %): Student's t on the scale of the log-odds, which stays within 0 and 100 %, or Wilson's where all seeds agree.
Differences are in points, seed by seed, likewise bounded: the two arms of a pair had the same start and the same
pixels.""",
    "ap": """\
AP is COCO's: the mean over the classes, and over overlaps from 0.50 to 0.95, of the precision at 101 steps of recall;
AP50 is that at an overlap of 0.50. It is taken on test images that no arm was trained or chosen on, as a mean over
seeds with
its 95 % interval, on the scale of the log-odds; differences are in points, seed by seed.""",
    "miou": """\
mIoU is the mean over the classes of intersection over union, over all pixels of the test images together but those that
are not to be told; as a mean over seeds with its 95 % interval, on the scale of the log-odds. Differences are in
points,
seed by seed.""",
    "limits": """\
The machine's limits are measured in the same run: multiply–accumulates per second of a large matrix product, bytes per
second of a large copy. The roof at an intensity, in MACs per byte, is the smaller of the first and intensity × the
second. Bytes are those that the operations would move if each went to memory and back, so an arm whose bytes stay in a
cache can stand above it. A compiled arm has no place under it: what is fused moves fewer bytes than are counted.""",
}
GROWTH = """\
A figure grows as N to this power, 95 % interval in brackets: among the largest sizes where four or more are within a
factor of 16 of N, else between the two largest; "by no single power" where none describes them. The stated power is
that of the attention alone for large N; all else in a model is linear."""
SPREAD = """\
Percentiles of single calls over all launches, where a call takes longer than a block and there are calls enough: 50 for
p90, 500 for p99. Turns lie between the calls, in which other processes ran."""
PARETO = """\
Named and joined: arms that no other is shown to beat, and that reach at least a point more than every cheaper one.
White: left open by the intervals, or still rising. Grey: another arm is shown to be better on one side and not worse on
the other."""
STARTING = """\
An export is compared with torch on three inputs, and on one at another size; "off by" is the largest difference,
relative to the largest output. The first pass includes what is compiled or loaded for it. A process holds Python and
torch, too, also where another engine runs the model."""
THREADS = """\
How many times as fast an arm is as with the fewest threads, and the power of the number of threads that this is: 1
where twice the threads are twice as fast, 0 where they bring nothing. Runs with few and with many threads take no
turns; the intervals (95 %) are Welch's, over launches."""
OVERTAKING = """\
Between the two measured sizes in the last column: at each, one of the two arms is shown to be the faster."""


def explanations(results: Results) -> list[str]:
    """What else there is to know of the metrics that were measured, a paragraph each."""
    measured = {record.metric for record in results.records}
    return [text for name, text in EXPLAINED.items() if name in measured]


def _policies(results: Results) -> list[str]:
    """By policy of the workers, what it set in their environment, as the records tell it."""
    found: dict[str, None] = {}
    for record in results.records:
        if record.policy and METRICS.get(record.metric) and METRICS[record.metric].how in ("exact", "timed"):
            name = STOCK if record.metric == "stock_latency" else record.case["policy"]
            settings = [f"{key}={value}" for key, value in record.policy.items() if key.isupper() or key == "allocator"]
            found[f"{name} ({', '.join(settings)})"] = None
    return list(found)


def circumstances(results: Results) -> list[tuple[str, str]]:
    """By name, what the figures were taken on and with, and how long that took; where it changed on the way, all."""
    facts: dict[str, dict[str, None]] = {}
    for record in results.records:
        for name, value in {**record.machine, **record.versions, "commit": record.commit}.items():
            if value:
                facts.setdefault(name, {})[str(value)] = None
    found = [(name, ", ".join(values)) for name, values in facts.items()]
    if policies := _policies(results):
        found.append(("policy", "; ".join(policies)))
    if times := sorted(record.time for record in results.records if record.time):
        found.append(("measured", " to ".join(dict.fromkeys([times[0], times[-1]]))))
    if spent := results.overhead:
        took = (
            f"{show_seconds(spent['total_seconds'])} in all, {show_seconds(spent['model_seconds'])} running "
            f"models, {show_seconds(spent['start_seconds'])} starting processes, {spent['share']:.1%} anything else"
        )
        found.append(("time", took))
    return found
