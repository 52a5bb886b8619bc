"""Options read from signatures, checked, and turned into flags."""

import argparse
import inspect
import re
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from emt.errors import RegistrationError, UserError
from emt.models import MODELS
from emt.options import (
    Option,
    Parser,
    add_flags,
    assigns,
    check,
    load,
    names_text,
    options_of,
    options_of_model,
    require_arguments,
    summary_of,
    target_of,
    validate,
)
from emt.options.flags import help_text
from emt.tasks import TASKS

OPTIONS = (
    Option("count", int, 3, "how many"),
    Option("rate", float, 0.5),
    Option("name", str, "x"),
    Option("deep", bool, False),
    Option("wide", bool, True, "as wide as 100%"),
    Option("kind", Literal["a", "b"], "a"),
    Option("span", int | tuple[int, int], 8),
    Option("code", Literal["T1", "T2"] | tuple[int, int, int], "T1"),
    Option("limit", int | None, None),
    Option("units", Annotated[int, Field(ge=1)], 7),
    Option("steps", tuple[int, ...], (1, 2)),
)


def parse(*words, options=OPTIONS):
    parser = Parser(prog="p")
    add_flags(parser, options)
    return vars(parser.parse_args(words))


def settled(*words):
    return check(OPTIONS, parse(*words), "here", words=True)


def defaults_of(kind):
    """Return the defaults of a constructor, and of those that it hands further ones to, as Python finds them."""
    defaults = {}
    for ancestor in kind.__mro__:
        constructor = ancestor.__dict__.get("__init__")
        if constructor is not None and ancestor is not object:
            defaults = (constructor.__kwdefaults__ or {}) | defaults
            if not constructor.__code__.co_flags & inspect.CO_VARKEYWORDS:
                break
    return defaults


@pytest.mark.parametrize("registry", [TASKS, MODELS])
def test_registered_options_are_those_of_the_constructor(registry):
    for name, target in registry.items():
        options = options_of(target)
        assert all(o.help for o in options), f"{name}: an option without a help text"
        assert {o.name: o.default for o in options if not o.required} == defaults_of(
            load(registry, name, "kind")
        )
        assert summary_of(target).endswith((".", ")"))


def test_a_class_assigns_what_its_body_or_a_bases_gives_a_value(tmp_path, monkeypatch):
    (tmp_path / "bodies.py").write_text(
        "class C:\n    a: int\n    b: int = 1\n    c = {1: 2}\n    g = {}\n    def f(self): d = 1\n"
        "class D(C):\n    b = {}\n    e = 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert [name for name in "abcdg" if assigns("bodies:C", name)] == ["b", "c"]
    assert [name for name in "abcdef" if assigns("bodies:D", name)] == ["c", "e"]


def test_a_constructor_with_others_hands_them_to_the_next_one_in_pythons_order(tmp_path, monkeypatch):
    section = '"""{}.\n\nParameters\n----------\n{}\n"""'
    texts = (
        section.format("Base", "size\n    units.\nrate\n    how fast."),
        section.format("Child", "rate\n    slow."),
    )
    (tmp_path / "handed.py").write_text(
        "class Root:\n    def __init__(self, x): ...\n"
        f"class Base(Root):\n    {texts[0]!r}\n    def __init__(self, x, *, size: int = 3, rate: float = 0.5): ...\n"
        "class Mixin(Root): ...\n"
        f"class Child(Mixin, Base):\n    {texts[1]!r}\n"
        "    def __init__(self, x, *, rate: float = 2.0, deep: bool = True, **others): ...\n"
        "class Closed(Base):\n    def __init__(self, x, *, deep: bool = True): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    options = options_of("handed:Child")
    assert [(o.name, o.default, o.help) for o in options] == [
        ("size", 3, "units."),
        ("rate", 2.0, "slow."),
        ("deep", True, ""),
    ]
    assert [o.name for o in options_of("handed:Closed")] == ["deep"]
    require_arguments("handed:Child", ("x",))


def test_a_constructor_may_be_inherited_with_its_help(tmp_path, monkeypatch):
    package = tmp_path / "family"
    package.mkdir()
    (package / "__init__.py").touch()
    section = '"""{}.\n\nParameters\n----------\n{}\n"""'
    base = section.format("Base", "size\n    units.\nrate\n    how fast.")
    (package / "base.py").write_text(
        f"from json import JSONEncoder\nclass Base(JSONEncoder):\n    {base!r}\n"
        "    def __init__(self, x, *, size: int = 3, rate: float = 0.5): ...\n"
    )
    child = section.format("Child", "rate\n    how slow.")
    (package / "child.py").write_text(
        "from json import JSONDecoder\nfrom family.base import Base as B\n"
        f"class Child(B):\n    {child!r}\n"
        "class Grandchild(Child): ...\n"
        "class Own(B):\n    def __init__(self): ...\n"
        "class Stranger(JSONDecoder): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("Child", "Grandchild"):
        options = options_of(f"family.child:{name}")
        assert [(o.name, o.default, o.help) for o in options] == [
            ("size", 3, "units."),
            ("rate", 0.5, "how slow."),
        ]
    assert options_of("family.child:Own") == options_of("family.child:Stranger") == ()


def test_options_of_a_function_come_in_order_with_their_help():
    module = "analysis.spectra.embedding:embed_population"
    options = options_of(module)
    assert [o.name for o in options][:2] == ["method", "signature_type"]
    assert "pca" in options[0].choices
    assert all(o.help for o in options)


@pytest.mark.parametrize("target", ["emt.models.elman:Missing", "emt.nowhere:Elman"])
def test_a_registry_line_that_leads_nowhere_is_a_fault_of_ours(target):
    with pytest.raises(RegistrationError, match=target.partition(":")[0].replace(".", "/") + r"\.py: "):
        options_of(target)


def test_an_unknown_name_says_which_there_are():
    with pytest.raises(UserError, match=r"model_type: must be one of rnn, lstm; got 'no_such_model'"):
        target_of({"rnn": "m:A", "lstm": "m:B"}, "no_such_model", "model_type")


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        ((), "count", 3),
        (("--count", "4"), "count", 4),
        (("--rate", "1e-3"), "rate", 1e-3),
        (("--deep",), "deep", True),
        (("--no_wide",), "wide", False),
        (("--deep", "--no_deep"), "deep", False),
        (("--kind", "b"), "kind", "b"),
        (("--span", "3"), "span", 3),
        (("--span", "3", "7"), "span", (3, 7)),
        (("--code", "T2"), "code", "T2"),
        (("--code", "9241421688590303745", "0", "1"), "code", (9241421688590303745, 0, 1)),
        (("--limit", "5"), "limit", 5),
        (("--units", "1"), "units", 1),
        (("--steps", "4"), "steps", (4,)),
        (("--steps", "4", "5", "6"), "steps", (4, 5, 6)),
    ],
)
def test_words_become_values(words, name, value):
    assert settled(*words)[name] == value
    assert type(settled(*words)[name]) is type(value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--count", "four"), "count: must be an integer; got four (here)"),
        (("--count", "1.5"), "count: must be an integer; got 1.5 (here)"),
        (("--units", "0"), "units: must be an integer ≥ 1; got 0 (here)"),
        (("--units", "x"), "units: must be an integer; got x (here)"),
        (("--rate", "fast"), "rate: must be a number; got fast (here)"),
        (("--span", "3", "4", "5"), "span: must be an integer or 2 integers; got 3 4 5 (here)"),
        (("--code", "T9"), "code: must be one of T1, T2 or 3 integers; got T9 (here)"),
        (("--code", "1", "2"), "code: must be one of T1, T2 or 3 integers; got 1 2 (here)"),
        (("--steps", "4", "x"), "steps: must be some integers; got 4 x (here)"),
    ],
)
def test_wrong_words_are_refused_by_flag(words, message):
    with pytest.raises(UserError) as caught:
        settled(*words)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("--cuont", "4"), "--cuont"),
        (("--coun", "4"), "--coun"),
        (("--count",), "count: expected one argument"),
        (("--kind", "c"), "kind: invalid choice: 'c'"),
        (("stray",), "stray"),
    ],
)
def test_a_parser_refuses_in_one_line_and_takes_no_abbreviation(words, part):
    with pytest.raises(UserError) as caught:
        parse(*words)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_flags_not_given_leave_no_trace():
    assert parse("--rate", "2") == {"rate": "2"}


def test_a_required_option_is_asked_for_unless_a_configuration_may_hold_it():
    options = (Option("size", int),)
    with pytest.raises(UserError, match="--size"):
        parse(options=options)
    with pytest.raises(UserError, match=r"size: must be an integer; got none \(here\)"):
        check(options, {}, "here")
    parser = argparse.ArgumentParser()
    add_flags(parser, options, required=False)
    assert vars(parser.parse_args([])) == {}


def test_help_shows_defaults_and_survives_a_percent_sign():
    parser = argparse.ArgumentParser()
    add_flags(parser, OPTIONS)
    text = " ".join(parser.format_help().split())
    assert "how many (default: 3)" in text
    assert "as wide as 100% (default: on)" in text
    assert "--no_wide" in text
    assert "(default: None)" not in text
    assert "(default: False)" not in text


def test_help_of_a_flag_ends_without_a_full_stop_and_names_no_default_that_is_off():
    assert help_text(Option("deep", bool, False, "go deep. Then deeper.")) == "go deep. Then deeper"
    assert help_text(Option("span", tuple[int, int], (3, 7), "from, to.")) == "from, to (default: 3 7)"
    assert help_text(Option("size", int, help="100 % of it.")) == "100 %% of it"


def test_a_default_of_zero_is_shown_and_an_empty_one_is_not():
    assert help_text(Option("seed", int, 0, "the first.")) == "the first (default: 0)"
    assert (
        help_text(Option("notes", str, "", "some."))
        == help_text(Option("tags", tuple[str, ...], (), "some"))
        == "some"
    )


def test_usage_shows_what_is_required_and_no_other_option():
    parser = Parser(prog="x")
    parser.add_argument("folder", metavar="DIR")
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--kind", choices=("a", "b"), required=True)
    add_flags(parser, (Option("size", int), Option("seed", int, 0)))
    usage = parser.format_help().partition("\n\n")[0]
    assert usage == "usage: x [options] DIR RUNS [RUNS ...] --kind {a,b} --size N"
    assert "--seed N" in parser.format_help()


def test_names_are_listed_one_a_line_and_continued_under_their_summary():
    listed = names_text({"a": "One thing.", "long_name": "Another, with more words."})
    assert listed == "  a         One thing\n  long_name Another, with more words"
    parser = Parser()
    parser.add_argument("--which", metavar="NAME", help=f"default: a\n{listed}")
    shown = parser.format_help()
    assert re.search(r"default: a\n +a +One thing\n +long_name +Another", shown)
    assert "default: a a" not in " ".join(shown.split("\n"))


@pytest.mark.parametrize("target", [*TASKS.values(), *MODELS.values()])
def test_every_option_is_explained_in_one_form(target):
    for option in options_of(target):
        assert option.help, option.name
        assert not re.search(r"\.$|default: (False|True|None)", help_text(option))


def test_configured_values_are_strict_where_words_are_not():
    assert check(OPTIONS, {"count": 4, "span": (3, 7)}, "here")["span"] == (3, 7)
    for wrong in ({"count": "4"}, {"deep": 1}, {"rate": "0.1"}):
        with pytest.raises(UserError, match=f"^{next(iter(wrong))}: must be"):
            check(OPTIONS, wrong, "here")


def test_an_unknown_option_names_the_known_ones():
    with pytest.raises(UserError, match=r"coutn: here has no such option; it has: count, rate"):
        check(OPTIONS, {"coutn": 4}, "here")
    with pytest.raises(UserError, match="it has: none"):
        check((), {"coutn": 4}, "here")


def test_partial_leaves_defaults_out():
    assert check(OPTIONS, {"count": "4"}, "here", words=True, partial=True) == {"count": 4}
    assert set(check(OPTIONS, {"count": "4"}, "here", words=True)) == {o.name for o in OPTIONS}


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid")

    depth: int = Field(default=2, ge=1, description="how deep")
    label: str


def test_fields_of_a_model_are_options():
    depth, label = options_of_model(Section)
    assert (depth.name, depth.annotation, depth.default, depth.help) == ("depth", int, 2, "how deep")
    assert label.required
    assert not depth.required


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"label": "x", "depth": 0}, "depth: must be ≥ 1; got 0 (there)"),
        ({"label": "x", "deep": 0}, "deep: no such field; did you mean depth? (there)"),
        ({}, "label: expected a value; got none (there)"),
    ],
)
def test_settle_names_the_wrong_field(values, message):
    with pytest.raises(UserError) as caught:
        validate(Section, values, "there")
    assert str(caught.value) == message


def test_settle_makes_the_model():
    assert validate(Section, {"label": "x"}, "there") == Section(label="x")


def test_an_option_may_be_named_as_a_method_of_mappings():
    options = (Option("keys", str, "product", ""), Option("items", int, 3, ""))
    assert check(options, {"items": 5}, "model") == {"keys": "product", "items": 5}
