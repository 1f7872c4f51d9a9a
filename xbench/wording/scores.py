"""The scores of tasks as the field writes them."""

SHORT = {"top1": "top-1", "ap": "AP", "ap50": "AP50", "miou": "mIoU"}
