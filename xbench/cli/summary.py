"""The verb that shows a model part by part: summary."""

from typing import Annotated

import typer

from xbench.cli.app import app
from xbench.cli.options import COMPARED, Task, ThreadCount, option, spread
from xbench.cli.streams import output


@app.command(epilog="Exit code: 0 shown · 2 bad input.")
@spread
def summary(
    name: Annotated[str, typer.Argument(help="An attention in the XFormer skeleton, or with --model a timm model.")],
    res: Annotated[str, option(COMPARED, "Image size in pixels: 1024, or 512x1024.", takes="PIXELS")] = "256",
    is_model: Annotated[bool, option(COMPARED, "The name is that of a timm model.", "--model")] = False,
    task: Task = "classify",
    patch: Annotated[int, option(COMPARED, "Patch size of the XF blocks.", takes="SIDE")] = 2,
    size: Annotated[str, option(COMPARED, "XFormer's size: s, xs or xxs.", takes="SIZE")] = "s",
    depth: Annotated[int, option(COMPARED, "How deep: 1 is stages, 3 their blocks.", takes="N")] = 3,
    threads: ThreadCount = None,
) -> None:
    """A model part by part: what each gives, its parameters and multiply–accumulates, and its share of the time.

    Times are of a few passes in this process, for a look; xbench compare --metrics breakdown takes them with care.
    For example:

        xbench summary xfa --res 1024

        xbench summary mobilevit_s --model --depth 1
    """
    from xbench.attention.spec import parse_attention
    from xbench.data.photos import load_photos, photo_paths
    from xbench.models.baselines import check_baseline, check_takes
    from xbench.models.sizes import check_input, find_size
    from xbench.parsing.axes import TASKS, one_of, parse_img_size, thread_count, whole

    one_of("task", task, TASKS)
    img_size = parse_img_size(res)
    find_size(size)
    whole("depth", depth, 1, 9)
    whole("patch size", patch, 1, 4096)
    count = thread_count(threads)
    attn = None if is_model else parse_attention(name)
    if is_model:
        check_baseline(name)
        check_takes(name, img_size)
    else:
        check_input(img_size, patch)
    import torch

    from xbench.metrics.summary import summarize
    from xbench.report.tables.parts import parts_table
    from xbench.tasks import CLASSES
    from xbench.tasks.building import build_for

    torch.set_num_threads(count)
    built = []
    for device in ("cpu", "meta"):
        with torch.device(device):
            model = build_for(
                task,
                attn,
                name if is_model else None,
                img_size=img_size,
                num_classes=CLASSES[task],
                size=size,
                patch_size=patch,
            )
        built.append(model.eval())
    parts = summarize(built[0], built[1], load_photos(photo_paths(), 1, img_size), depth)
    output().print(parts_table(parts))
