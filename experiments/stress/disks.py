"""Disks: a command on a disk that fills up or a quota that is used up, and again with enough."""

import os
import resource
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

from emt.files import FULL
from emt.streams import stream
from experiments.stress.cases import LIMIT, Case, Trees
from experiments.stress.kills import save_often
from experiments.stress.outcome import FAULTS, Outcome, Trial, Trials
from experiments.stress.quota import use_up_quota
from experiments.stress.results import differing, left_over, results_of


def attack_disk(case: Case, trees: Trees, count: int, seed: int, folder: Path) -> Trials:
    """Yield what ``count`` disks and quotas that are too small come to: a clear line, then the same bytes."""
    for number in range(count):
        case.prepare(trees, save_often)
        place = folder / f"{case.name} {number}"
        random = stream(f"stress disk {case.name}", seed, "test", number)
        share = float(random.uniform(0.05, 1))
        alone = trees.folder / f"alone {case.name}"
        mounted = number % 2 == 0 and _mount(place, alone, case, trees, share)
        if mounted:
            refuse: Callable[[], None] = save_often
        else:
            trees.copy(case.tree, place)
            refuse = partial(_refuse, place, int(random.integers(1, 120)))
        try:
            trial = _starve(case, number, place, refuse, "full disk" if mounted else "quota")
        finally:
            if mounted:
                subprocess.run(["umount", str(place)], check=True)
        if trial.outcome not in FAULTS:
            shutil.rmtree(place)
        yield trial


def _refuse(folder: Path, calls: int) -> None:
    save_often()
    use_up_quota(folder, calls)


def _starve(case: Case, number: int, place: Path, refuse: Callable[[], None], how: str) -> Trial:
    name = f"{case.name} {number} ({how})"
    first = case.run(place, refuse).wait(LIMIT)
    if first.outcome() in FAULTS:
        return Trial(name, first.outcome(), first.text())
    if first.code and not any(words in first.complained for words in FULL.values()):
        return Trial(name, Outcome.TRACEBACK, f"nothing said of the disk: {first.text()}")
    if os.path.ismount(place):
        subprocess.run(["mount", "-o", "remount,size=200m", str(place)], check=True)
    again = case.run(place, save_often).wait(LIMIT)
    if again.code:
        return Trial(name, Outcome.TRACEBACK, f"with enough space: {again.text()}")
    faults = differing(case.alone, results_of(place)) + left_over(place)
    if faults:
        return Trial(name, Outcome.SILENT, f"differ: {', '.join(faults)[:2000]}")
    return Trial(name, first.outcome(), first.text())


def _mount(place: Path, alone: Path, case: Case, trees: Trees, share: float) -> bool:
    """Mount a file system in memory that holds the tree and a share of what the command adds; say if that worked."""
    place.mkdir(parents=True)
    if os.geteuid() or not shutil.which("mount"):
        place.rmdir()
        return False
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", str(place)], check=False, capture_output=True
    )
    if done.returncode:
        place.rmdir()
        return False
    source = trees.folder / case.tree
    shutil.copytree(source, place, symlinks=True, dirs_exist_ok=True)
    before = _bytes(place)
    size = before + int(share * max(_bytes(alone) - before, 0))
    page = resource.getpagesize()
    subprocess.run(["mount", "-o", f"remount,size={-(-size // page) * page}", str(place)], check=True)
    return True


def _bytes(folder: Path) -> int:
    """Return what the files of a folder take in whole pages."""
    page = resource.getpagesize()
    return sum(-(-path.stat().st_size // page) * page for path in folder.rglob("*") if path.is_file())
