"""User-facing text is plain technical English: phrases that a reader cannot search for stay out of it.

The phrases are looked for in Markdown files, docstrings, comments and string literals. Single ordinary words
are not listed: each entry is a phrase that a review found, with the field's expression for it.
"""

import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PHRASES = {
    r"what is dear|is dear\b|\bdear (results?|ones|values)": "expensive",
    r"(is|are) kept in `?kept": "cached in cache/",
    r"by a hash of what it was": "keyed by a hash of its inputs",
    r"made of other data|does not make any more": "left over from an earlier run",
    r"\blets? (each|it|them|every) \w*\s?go\b|\blet go\b": "stops",
    r"as soon as it has learnt": "once it reaches that accuracy",
    r"continues with the same command|same command (continues|goes on)": "rerun the same command to resume",
    r"\bends? (up )?(with|to|at) the same bytes|to the same bytes": "byte-identical",
    r"epochs to come\b": "estimated time remaining",
    r"no gpu was at hand|\bat hand\b": "available",
    r"behind the stroke": "ours / the paper's",
    r"there is no \S+ and no\b": "no such file: a (also tried b)",
    r"expected an existing (path|file)": "no such file",
    r"\binteger from \d": "an integer ≥ 1",
    r"\bst(and|ood|ands) still\b": "held constant",
    r"cube of numbers": "memory_dim³ entries",
    r"where there (is|are)\b": "if available; if there is none",
    r"\bst(and|ands|ood) beside\b": "are also given",
    r"(could|can|cannot) be had\b": "be obtained",
    r"\bhas had enough\b|\bhad enough\b": "stops reading",
    r"\bgoes on\b|\bwent on\b|\bgo on with\b": "continues, resumes",
    r"asked[- ]for (item|fact|digit|write|answer)": "queried",
    r"asks for (an item|items|several items|more items)": "queries",
    r"of its own on the": "separate",
    r"\bmade anew\b|\btrain anew\b": "recomputed",
    r"\bso that one more member costs\b": "adding a member computes that member only",
    r"a line now and then": "periodically",
    r"who is like whom": "which members are similar",
}
"""A phrase as a regular expression, ignoring case, and what to write instead."""


def comments_and_strings(source):
    """Return the comments and the text of strings, f-strings included, of Python source, with line numbers."""
    kinds = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return [(token.start[0], token.string) for token in tokens if token.type in kinds]


def faults(text):
    """Return the phrases that a text holds and what to write instead; line breaks count as spaces."""
    flat = re.sub(r"\s+(#\s+)?", " ", text)
    return [
        f"{found.group()!r}: write {better!r}"
        for phrase, better in PHRASES.items()
        if (found := re.search(phrase, flat, re.IGNORECASE))
    ]


def texts():
    """Yield where each piece of text stands, and the piece."""
    markdown = [*ROOT.glob("*.md"), *ROOT.glob("experiments/**/*.md")]
    for path in markdown:
        for paragraph in path.read_text(encoding="utf-8").split("\n\n"):
            yield f"{path.relative_to(ROOT)}", paragraph
    for folder in ("analysis", "emt", "experiments"):
        for path in [*(ROOT / folder).rglob("*.py")]:
            for line, text in comments_and_strings(path.read_text(encoding="utf-8")):
                yield f"{path.relative_to(ROOT)}:{line}", text


def test_texts_use_the_fields_words():
    found = [f"{where}: {fault}" for where, text in texts() for fault in faults(text)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("bad", "good"),
    [
        ("What is dear is kept in `kept/`", "Expensive results are cached in `cache/`"),
        ("a GPU where there\nis one", "use a GPU if available"),
        ("contents of associative memories stand still", "memory contents are held constant"),
        ("expected an integer from 1; got 0", "must be an integer ≥ 1; got 0"),
        ("lets each network go as soon as", "stops each network once"),
        ("for the epochs to come", "Estimated time remaining"),
        ("the item asked-for item is read", "the queried item is read"),
    ],
)
def test_a_listed_phrase_is_found_and_its_replacement_is_not(bad, good):
    assert faults(bad)
    assert not faults(good)


def test_strings_and_comments_are_read_and_names_are_not():
    source = 'stand_still = f"{go} goes on"  # at hand\n'
    found = " ".join(text for _, text in comments_and_strings(source))
    assert len(faults(found)) == 2
    assert "stand_still" not in found


@pytest.mark.parametrize(
    "word",
    [
        "cache",
        "resume",
        "stale",
        "time remaining",
        "checkpoint",
        "seed",
        "confidence interval",
        "p-value",
        "GPU",
    ],
)
def test_a_reader_finds_the_usual_words(word):
    guides = [(ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "ANALYSIS_GUIDE.md")]
    assert any(word in " ".join(guide.split()) for guide in guides)
