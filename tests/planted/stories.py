"""A small bAbI, and members that read streams of stories into a fast memory."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr


def _places_story(draw: np.random.Generator) -> str:
    """Twice two people who move and a question about one of them: six lines, one of them supports each answer."""
    people, rooms = ("Ada", "Ben", "Cleo"), ("attic", "cellar", "yard", "hall")
    lines: list[str] = []
    for _ in range(2):
        who, where = draw.permutation(people)[:2], draw.permutation(rooms)[:2]
        lines += [f"{who[i]} walked to the {where[i]}." for i in range(2)]
        asked = int(draw.integers(2))
        lines.append(f"Where is {who[asked]}? \t{where[asked]}\t{len(lines) - 1 + asked}")
    return "".join(f"{i} {line}\n" for i, line in enumerate(lines, 1))


def _fears_story(draw: np.random.Generator) -> str:
    """Who fears whom, two lines for each answer: six lines, the supporting ones in the order of the reasoning."""
    kinds = draw.permutation(("rat", "fox", "owl"))
    return (
        f"1 Every {kinds[0]} fears the {kinds[1]}.\n2 Every {kinds[1]} fears the {kinds[2]}.\n3 Pip is a {kinds[0]}.\n"
        f"4 Tam is a {kinds[1]}.\n5 What does Pip fear?\t{kinds[1]}\t3 1\n6 What does Tam fear?\t{kinds[2]}\t4 2\n"
    )


def _paths_story(draw: np.random.Generator) -> str:
    """A way of two steps, the answer one word with a comma: three lines."""
    ways = {"n": "north", "s": "south", "w": "west", "e": "east"}
    first, second = draw.permutation(list(ways))[:2]
    return (
        f"1 The hall is {ways[first]} of the yard.\n2 The attic is {ways[second]} of the hall.\n"
        f"3 How do you get from the yard to the attic?\t{first},{second}\t1 2\n"
    )


MINI_BABI = {1: _places_story, 15: _fears_story, 19: _paths_story}
"""Stories of a small bAbI by task."""


@pytest.fixture(scope="session")
def mini_babi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a generated bAbI in the published layout: tasks 1, 15 and 19, in each 23, 5 and 7 stories."""
    folder = tmp_path_factory.mktemp("babi") / "tasks_1-20_v1-2" / "en-valid"
    folder.mkdir(parents=True)
    for number, (task, story) in enumerate(MINI_BABI.items()):
        for place, (split, count) in enumerate({"train": 23, "valid": 5, "test": 7}.items()):
            draw = np.random.default_rng((number, place))
            (folder / f"qa{task}_{split}.txt").write_text("".join(story(draw) for _ in range(count)))
    return folder.parents[1]


NAMES, VERBS = ("ada", "ben", "cleo", "dan", "eve", "fay"), ("likes", "knows", "sees")


def articles(count: int, seed: int) -> str:
    """Return articles with a title between empty lines, a section and sentences, each about a name of its own."""
    draw = np.random.default_rng(seed)
    text = ""
    for number in range(count):
        hero = NAMES[number % len(NAMES)]
        text += f" \n = {hero} = \n \n = = friends = = \n \n"
        for _ in range(4):
            text += f" {hero} {draw.choice(VERBS)} {draw.choice(NAMES)} . \n"
    return text


@pytest.fixture(scope="session")
def mini_texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of three generated texts under the names of WikiText-2: 18, 8 and 9 articles of 33 words."""
    folder = tmp_path_factory.mktemp("texts")
    for seed, (split, count) in enumerate({"train": 18, "valid": 8, "test": 9}.items()):
        (folder / f"wiki.{split}.tokens").write_text(articles(count, seed))
    return folder


SENTENCE, SENTENCES = 4, 5
STORY = SENTENCE * SENTENCES + 4
"""Words of a story: its sentences, a question of three and an answer."""


def read_stories(words: np.ndarray, asks: np.ndarray) -> dict[str, np.ndarray]:
    """Return the events of streams of stories (stream, story, word) that ask for items (stream, story, item)."""
    streams, stories, _ = words.shape
    events = {name: np.full(words.shape, -1) for name in ("written", "trial", "group")}
    events["written"][:, :, :-4] = np.repeat(np.arange(SENTENCES), SENTENCE)
    events["trial"][:] = (7 * np.arange(streams * stories) % 50).reshape(
        streams, stories, 1
    )  # as shuffled stories are
    events["group"][:] = (asks >= 0).sum(axis=-1, keepdims=True)
    asked = np.full((*words.shape, asks.shape[-1]), -1)
    asked[:, :, -2] = asks
    flat = {name: event.reshape(streams, -1) for name, event in (events | {"token": words}).items()}
    return flat | {"asked": asked.reshape(streams, -1, asks.shape[-1])}


@pytest.fixture
def make_stories(trace_of: Any, recall: Any) -> Callable[..., Any]:
    """Return a function that makes a trace of members that read streams of stories into a fast memory of two factors.

    A story is five sentences of four words, a question of two words and "?", and its answer, the last word of
    the last item; stories ask for 1, 2, 2 and 3 sentences in turn, and read i returns what was written at the
    last word of the ith. Every step writes by the delta rule, under keys orthogonal to each other, and
    rescales; reads come after the write. With ``shuffled`` the written keys of each stream change places,
    with ``strength`` 0 nothing is stored; the answers of the first stream are wrong.
    """

    def make(
        members: int = 2, streams: int = 3, *, shuffled: bool = False, strength: float = 1.0, seed: int = 0
    ) -> Any:
        rng = np.random.default_rng(seed)
        stories, reads, names = 4, 3, [*(f"word{i}" for i in range(30)), ".", "?"]
        words = rng.integers(0, 30, (streams, stories, STORY))
        words[:, :, SENTENCE - 1 : SENTENCE * SENTENCES : SENTENCE], words[:, :, -2] = 30, 31
        order = rng.permuted(np.tile(np.arange(SENTENCES), (streams, stories, 1)), axis=-1)[..., :reads]
        asks = np.where(np.arange(reads) < np.array([1, 2, 2, 3])[:, None], order, -1)
        last_word = SENTENCE * order + 2
        last_item = np.array([0, 1, 1, 2])
        answered = last_word[:, np.arange(stories), last_item]
        words[:, :, -1] = np.take_along_axis(words, answered[..., None], axis=-1)[..., 0]
        events = read_stories(words, asks)
        shape = (members, streams, stories * STORY)
        size = 10  # of a factor: more keys than steps
        pairs = np.stack(np.unravel_index(rng.permutation(size**2)[: shape[-1]], (size, size)), axis=-1)
        frames = np.linalg.qr(rng.normal(size=(members, 2, size, size)))[0]
        keys = np.stack([frames[:, f][:, pairs[:, f]] for f in (0, 1)], axis=-2)[:, None].repeat(
            streams, axis=1
        )
        queries = rng.normal(size=(*shape, reads, 2, size)) / size
        for stream, story, read in np.argwhere(asks >= 0):
            start = story * STORY
            found = keys[:, stream, start + last_word[stream, story, read]]
            queries[:, stream, start + STORY - 2, read] = found
        if shuffled:
            for place in np.ndindex(members, streams):
                keys[place] = rng.permutation(keys[place])
        values = rng.normal(size=(*shape, 5))
        erase, keep = strength * rng.uniform(0.4, 1.0, shape), rng.uniform(0.95, 1.0, shape)
        log = {"write_key": keys, "write_value": values, "write_strength": erase * keep, "write_erase": erase}
        log |= {"write_keep": keep, "read_query": queries, "read_value": np.empty((*shape, reads, 5))}
        products = [
            (x[..., 0, :, None] * x[..., 1, None, :]).reshape(*x.shape[:-2], -1) for x in (keys, queries)
        ]
        for place in np.ndindex(members, streams):
            rule = [log[n][place] for n in ("write_value", "write_strength", "write_erase", "write_keep")]
            log["read_value"][place] = recall(products[0][place], *rule, products[1][place], "after")[1]
        memory = {n: a.astype(np.float32) for n, a in log.items()} | {
            "rule": {"kind": "linear", "reads": "after"}
        }
        recording = trace_of({"fwm": memory}, events, {"tokens": names, "accuracy": "argmax"})
        right = np.eye(len(names))[np.roll(events["token"], -1, axis=1)]
        outputs = np.tile(5 * right, (members, 1, 1, 1))
        outputs[:, 0] = outputs[:, 0, :, ::-1]
        return recording.assign(
            targets=xr.Variable(("batch", "time", "target"), right),
            outputs=xr.Variable(("member", "batch", "time", "output"), outputs),
        )

    return make
