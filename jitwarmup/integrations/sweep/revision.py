"""
The git revision that is checked out, read from files: detached heads, packed refs and worktrees included, never an error.

HuggingFace's ``get_git_revision`` opens ``.git/<last word of HEAD>``, which no detached or packed checkout (a CI's) has.
"""

from __future__ import annotations

from pathlib import Path


def revision(start: Path | None = None) -> dict[str, str]:
    """``commit_id`` and, where a branch is checked out, ``branch_name``; empty outside of a checkout."""
    try:
        folder = git_folder(start or Path.cwd())
        return {} if folder is None else head_of(folder)
    except (OSError, UnicodeDecodeError):
        return {}


def git_folder(start: Path) -> Path | None:
    """The nearest ``.git``; a worktree's is a file that names it."""
    for place in (start, *start.parents):
        found = place / ".git"
        if found.is_dir():
            return found
        if found.is_file():
            return (place / found.read_text().removeprefix("gitdir:").strip()).resolve()
    return None


def head_of(folder: Path) -> dict[str, str]:
    """What HEAD stands at."""
    head = (folder / "HEAD").read_text().strip()
    if not head.startswith("ref:"):
        return {"commit_id": head}
    ref = head.removeprefix("ref:").strip()
    common = folder / "commondir"
    shared = (folder / common.read_text().strip()).resolve() if common.exists() else folder
    commit = next((commit for place in (folder, shared) if (commit := commit_of(place, ref))), None)
    branch = {"branch_name": ref.removeprefix("refs/heads/")}
    return branch if commit is None else {"commit_id": commit, **branch}


def commit_of(folder: Path, ref: str) -> str | None:
    """The commit a ref names, in a file of its own or packed."""
    if (folder / ref).exists():
        return (folder / ref).read_text().strip()
    packed = folder / "packed-refs"
    lines = packed.read_text().splitlines() if packed.exists() else []
    return next((line.split()[0] for line in lines if line.endswith(f" {ref}")), None)
