"""What a pickle of a checkpoint describes, read as text: opcodes build lists, dicts and descriptions of tensors.

Nothing is imported and nothing is called, whatever the pickle names: no such call exists here. A class, a
function or an object that is none of those in `_KNOWN` becomes `OPAQUE`. Only names (text) are kept as keys,
since others have to be hashed, which deep tuples take without end.
"""

import pickletools
from collections.abc import Callable
from typing import Any, NamedTuple

OPAQUE = type("Opaque", (), {"__repr__": lambda self: "an object that is not read"})()
"""Stands for every object that is no number, text, list, tuple, dict or tensor."""


class Global(NamedTuple):
    """A class or a function that a pickle names."""

    name: str


class Storage(NamedTuple):
    """Numbers in a row: the type that a pickle names for them, their member of the archive, how many there are."""

    type: str
    member: str
    numbers: int


class Stored(NamedTuple):
    """A tensor: which numbers of a storage it has."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Unread(NamedTuple):
    """A tensor of a kind that is not read, by the function that would make it."""

    maker: str


def read_pickle(content: bytes) -> Any:
    """Return what a pickle describes: numbers, text, lists, tuples, dicts by name, `Stored`, `Unread`, `OPAQUE`.

    Raises
    ------
    ValueError
        If the pickle is damaged, or describes a tensor in another way than torch does.
    """
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(content):
            machine.do(opcode.name, argument)
        result = machine.stack[-1]
    except (IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        # What opcodes in a wrong order come to: a stack without a mark, a number that nothing was filed under.
        raise ValueError(f"a damaged pickle ({type(error).__name__})") from None
    return result


class _Machine:
    """The stack, the marks in it and the memo of a pickle."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def do(self, opcode: str, argument: Any) -> None:
        if opcode in _VALUES:
            self.stack.append(argument)
        elif opcode in _EMPTY:
            self.stack.append(_EMPTY[opcode]())
        elif opcode in _GETS:
            self.stack.append(self.memo[argument])
        elif opcode in _PUTS:
            self.memo[len(self.memo) if argument is None else argument] = self.stack[-1]
        elif opcode not in _IGNORED:
            getattr(self, f"_{opcode.lower()}", self._refuse)(*([] if argument is None else [argument]))

    def _refuse(self, *argument: Any) -> None:
        raise ValueError("a pickle of another kind than torch writes")

    def _since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marked.pop()
        return items

    def _take(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise IndexError
        items = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return items

    def _mark(self) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def _list(self) -> None:
        items = self._since_mark()
        self.stack.append(items)

    def _tuple(self) -> None:
        items = self._since_mark()
        self.stack.append(tuple(items))

    def _tuple1(self) -> None:
        self.stack.append(tuple(self._take(1)))

    def _tuple2(self) -> None:
        self.stack.append(tuple(self._take(2)))

    def _tuple3(self) -> None:
        self.stack.append(tuple(self._take(3)))

    def _dict(self) -> None:
        items = self._since_mark()
        self.stack.append({})
        _set(self.stack[-1], items)

    def _append(self) -> None:
        self._extend(self._take(1))

    def _appends(self) -> None:
        self._extend(self._since_mark())

    def _extend(self, items: list[Any]) -> None:
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(items)

    def _setitem(self) -> None:
        items = self._take(2)
        _set(self.stack[-1], items)

    def _setitems(self) -> None:
        items = self._since_mark()
        _set(self.stack[-1], items)

    def _additems(self) -> None:
        self._since_mark()

    def _frozenset(self) -> None:
        self._since_mark()
        self.stack.append(OPAQUE)

    def _global(self, name: str) -> None:
        self.stack.append(Global(name))

    def _stack_global(self) -> None:
        module, name = self._take(2)
        self.stack.append(Global(f"{module} {name}"))

    def _reduce(self) -> None:
        called, arguments = self._take(2)
        make = _KNOWN.get(called.name) if isinstance(called, Global) else None
        if make is not None:
            self.stack.append(make(*arguments))
        elif isinstance(called, Global) and called.name.startswith("torch._utils _rebuild_"):
            self.stack.append(Unread(called.name.rpartition(" _rebuild_")[2]))
        else:
            self.stack.append(OPAQUE)

    def _binpersid(self) -> None:
        [described] = self._take(1)
        what, kind, member, _, numbers = described
        if (
            what != "storage"
            or not isinstance(kind, Global)
            or type(member) is not str
            or type(numbers) is not int
        ):
            raise TypeError
        self.stack.append(Storage(kind.name.rpartition(" ")[2], member, numbers))

    def _build(self) -> None:
        # The state of an object, which is not read; that of a state dict says how old its modules are.
        self._take(1)

    def _newobj(self) -> None:
        self._take(2)
        self.stack.append(OPAQUE)

    def _newobj_ex(self) -> None:
        self._take(3)
        self.stack.append(OPAQUE)

    def _obj(self) -> None:
        self._since_mark()
        self.stack.append(OPAQUE)

    def _inst(self, name: str) -> None:
        self._obj()

    def _dup(self) -> None:
        self.stack.append(self.stack[-1])

    def _pop(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self._since_mark()

    def _pop_mark(self) -> None:
        self._since_mark()


def _set(target: Any, items: list[Any]) -> None:
    if len(items) % 2:
        raise IndexError
    if isinstance(target, dict):
        target.update((k, v) for k, v in zip(items[::2], items[1::2], strict=True) if type(k) is str)


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> Stored:
    numbers = (offset, *shape, *strides)
    if not isinstance(storage, Storage) or any(type(n) is not int for n in numbers):
        raise TypeError
    return Stored(storage, offset, tuple(shape), tuple(strides))


def _ordered_dict(*items: Any) -> Any:
    # torch fills it afterwards, as pickles of this protocol do.
    return OPAQUE if items else {}


def _parameter(tensor: Any, *rest: Any) -> Any:
    return tensor


_KNOWN: dict[str, Callable[..., Any]] = {
    "collections OrderedDict": _ordered_dict,
    "torch._utils _rebuild_tensor_v2": _tensor,
    "torch._utils _rebuild_parameter": _parameter,
    "torch._utils _rebuild_parameter_with_state": _parameter,
}
_EMPTY: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": lambda: OPAQUE,
    "EXT1": lambda: OPAQUE,
    "EXT2": lambda: OPAQUE,
    "EXT4": lambda: OPAQUE,
}
_VALUES = frozenset(
    (
        *("INT", "LONG", "LONG1", "LONG4", "BININT", "BININT1", "BININT2", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE"),
        *("BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    )
)
_GETS = frozenset(("GET", "BINGET", "LONG_BINGET"))
_PUTS = frozenset(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"))
_IGNORED = frozenset(("PROTO", "FRAME", "STOP"))
