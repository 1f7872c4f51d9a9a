"""Under which settings a worker runs a model: which allocator serves it, and how its idle threads wait.

Both change what a model takes, so they are an axis of a study, and stand in every record. No torch is imported here.

- The allocator: glibc gives every large tensor back to the kernel when it is freed and fetches it anew, page by page,
  for the next. That takes about three times as long at 1024 pixels, and differs from one process to the next. With the
  heap kept, figures repeat. The thresholds lie beyond any tensor: at 1 GiB the scores of 4,096 tokens are still fetched
  anew.
- Waiting: between two parallel regions the threads of OpenMP spin for some milliseconds before they sleep, as the
  library ships it. Where they sleep at once ("passive"), small models take 1.8 times as long.
"""

import ctypes.util
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from xbench.errors import UserError, unknown_name

KEPT_HEAP = {"MALLOC_MMAP_THRESHOLD_": str(2**40), "MALLOC_TRIM_THRESHOLD_": str(2**40)}
# A user's own settings of these reach no worker: the policy decides.
DECIDED = ("OMP_", "KMP_", "GOMP_", "MKL_", "MALLOC_")


@dataclass(frozen=True)
class Policy:
    """``settings`` are environment variables; ``library`` is an allocator to be loaded before glibc's, by the name that
    the linker knows it by, and ``package`` what Debian calls it.
    """

    summary: str
    settings: Mapping[str, str] = field(default_factory=dict)
    library: str = ""
    package: str = ""

    @property
    def recorded(self) -> dict[str, str]:
        """What stands of it in records."""
        return {**self.settings, **({"allocator": self.library} if self.library else {})}

    def environment(self) -> dict[str, str]:
        """The variables as a process needs them at its start.

        Raises:
            UserError: the allocator is not installed.
        """
        if not self.library:
            return dict(self.settings)
        found = ctypes.util.find_library(self.library)
        if found is None:
            raise UserError(f"the allocator lib{self.library} is not installed here (Debian: {self.package}).")
        preloaded = " ".join(filter(None, [found, os.environ.get("LD_PRELOAD")]))
        return {**self.settings, "LD_PRELOAD": preloaded}


POLICIES = {
    "tuned": Policy("heap kept, threads wait as OpenMP ships it", KEPT_HEAP),
    "stock": Policy("what a plain script gets: nothing set"),
    "jemalloc": Policy("jemalloc in place of glibc's allocator", library="jemalloc", package="libjemalloc2"),
    "tcmalloc": Policy(
        "tcmalloc in place of glibc's allocator", library="tcmalloc_minimal", package="libtcmalloc-minimal4"
    ),
    "passive": Policy("heap kept, threads sleep at once", {**KEPT_HEAP, "OMP_WAIT_POLICY": "passive"}),
    "active": Policy("heap kept, threads never sleep", {**KEPT_HEAP, "OMP_WAIT_POLICY": "active"}),
}
TUNED, STOCK = "tuned", "stock"


def find_policy(name: str) -> Policy:
    """The policy of that name.

    Raises:
        UserError: there is none.
    """
    if name not in POLICIES:
        raise unknown_name("policy", name, POLICIES)
    return POLICIES[name]
