"""Studies, claims and baselines that come with xbench, by name: from its checkout as from an installed package."""

from difflib import get_close_matches
from pathlib import Path

from xbench.errors import UserError

SHIPPED = Path(__file__).parents[1] / "shipped"
STUDIES, CLAIMS, BASELINES = SHIPPED / "studies", SHIPPED / "studies" / "claims", SHIPPED / "baselines"


def names(kind: Path) -> list[str]:
    """Of the studies, claims or baselines there are, sorted."""
    found = (path for path in kind.glob("*") if path.suffix == ".toml" or (path / "records.jsonl").is_file())
    return sorted(path.stem for path in found)


def find(kind: Path, given: Path) -> Path:
    """The file, or of baselines the folder, at the path; where there is none and it is a bare name, what comes with
    xbench under it.

    Raises:
        UserError: it is a bare name, and neither here nor with xbench is there anything of that name.
    """
    is_here = given.is_dir() if kind == BASELINES else given.is_file()
    if is_here or len(given.parts) != 1 or given.suffix:
        return given
    known = names(kind)
    if str(given) in known:
        return next(path for path in (kind / f"{given}.toml", kind / given) if path.exists())
    if given.exists():
        return given  # whoever reads it says what it is
    close = get_close_matches(str(given), known, n=3, cutoff=0.4)
    hint = f" Closest: {', '.join(close)}." if close else ""
    raise UserError(f"there is neither a file {given} here nor one that comes with xbench.{hint} All: xbench list.")
