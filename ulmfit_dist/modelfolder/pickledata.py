"""Read a pickle as data: its opcodes are interpreted, nothing it names is imported, nothing it asks for is called.

A pickle is a program. Here its calls and names become records (`Made`, `Name`) that the caller looks at, so that a
hostile one has nothing to run. Names outside the caller's list are refused all the same: the file is not what it seems.
This is narrower than torch's `weights_only`, and it reads what that refuses though it is harmless: learners saved with
their optimizer (fastcore's `L`, numpy scalars), whole modules of awd-lstm-lm (a bound method, so `getattr`).
Time and memory are linear in the bytes read; no size that a file declares is believed.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple

from ulmfit_dist.errors import InputError

_MOST_BYTES = 64 << 20  # the vocabulary of the largest public model takes 4 MB; weights lie outside the pickle
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_NUMBERS = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
_STRINGS = {"STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
_LITERALS = _NUMBERS | _STRINGS | {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8"}
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": list, "EMPTY_TUPLE": tuple}
_PUTS = {"PUT", "BINPUT", "LONG_BINPUT"}
_GETS = {"GET", "BINGET", "LONG_BINGET"}
_NOTHING = {"PROTO", "FRAME", "STOP"}
_ORDERED_DICT = "collections.OrderedDict"
_KEYS = (str, int, float, type(None))


class Name(NamedTuple):
    """A class or function that a pickle names, as `module.name`; it is never looked up."""

    dotted: str


@dataclass(eq=False)
class Made:
    """What a pickle would have made: a call that did not happen, and what would have been put into its result."""

    name: str
    args: tuple[Any, ...]
    state: Any = None
    entries: dict[Any, Any] = field(default_factory=dict)
    values: list[Any] = field(default_factory=list)


class PickleRules(NamedTuple):
    """Which names a pickle may hold, and what its persistent ids (what lies outside of it) stand for."""

    knows: Callable[[str], bool]
    outside: Callable[[Any], Any]


class _RefusedError(Exception):
    """What in the pickle cannot be accepted, as the `found` of the sentence."""


def read_pickle(stream: IO[bytes], where: str, rules: PickleRules) -> Any:
    """Read one pickle from the stream's position to just behind it, as plain values, `Name`s and `Made`s.

    Ordered dicts come as dicts, sets as lists. Raises InputError naming `where` for a pickle that is broken, longer
    than 64 MiB, uses opcodes that no writer of weights needs, or names what `rules` do not know.
    """
    machine = _Machine(rules)
    start = stream.tell()
    try:
        for opcode, argument, position in pickletools.genops(stream):
            machine.step(opcode.name, argument, (position or 0) - start)
        return machine.result()
    except _RefusedError as error:
        raise refused(where, str(error)) from error
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        raise refused(where, f"a pickle that breaks off or contradicts itself ({error!s:.100})") from error


def refused(where: str, found: str) -> InputError:
    """Return the error for a file that is not what the writers of weights and vocabularies make."""
    return InputError(
        f"{where} is refused; nothing in it was run",
        found=found,
        do="get the file again from where it was published; files of other layouts cannot be imported",
    )


class _Machine:
    """The stack and the memo of one pickle."""

    def __init__(self, rules: PickleRules) -> None:
        self._rules = rules
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any, position: int) -> None:
        if position > _MOST_BYTES:
            raise _RefusedError(f"a pickle of more than {_MOST_BYTES >> 20} MiB")
        if name in _LITERALS:
            self._stack.append(argument)
        elif name in _PUTS:
            self._memo[int(argument)] = self._stack[-1]
        elif name in _GETS:
            self._stack.append(self._memo[int(argument)])
        elif name in _EMPTY:
            self._stack.append(_EMPTY[name]())
        elif name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name])
        elif name not in _NOTHING:
            act = getattr(self, f"_{name.lower()}", None)
            if act is None:
                raise _RefusedError(f"the pickle opcode {name}")
            act() if argument is None else act(argument)

    def result(self) -> Any:
        (value,) = self._stack
        return value

    def _mark(self) -> None:
        self._marks.append(len(self._stack))

    def _since_mark(self) -> list[Any]:
        at = self._marks.pop()
        taken = self._stack[at:]
        del self._stack[at:]
        return taken

    def _memoize(self) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _list(self) -> None:
        self._stack.append(self._since_mark())

    def _tuple(self) -> None:
        self._stack.append(tuple(self._since_mark()))

    def _tuple1(self) -> None:
        self._last(1)

    def _tuple2(self) -> None:
        self._last(2)

    def _tuple3(self) -> None:
        self._last(3)

    def _last(self, count: int) -> None:
        if len(self._stack) < count:
            raise IndexError("the stack is empty")
        self._stack[-count:] = [tuple(self._stack[-count:])]

    def _dict(self) -> None:
        flat = self._since_mark()
        self._stack.append({})
        self._fill(flat)

    def _append(self) -> None:
        self._extend([self._stack.pop()])

    def _appends(self) -> None:
        self._extend(self._since_mark())

    def _additems(self) -> None:
        self._extend(self._since_mark())

    def _extend(self, values: list[Any]) -> None:
        target = self._stack[-1]
        (target.values if isinstance(target, Made) else _only(list, target)).extend(values)

    def _setitem(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._fill([key, value])

    def _setitems(self) -> None:
        self._fill(self._since_mark())

    def _fill(self, flat: list[Any]) -> None:
        target = self._stack[-1]
        entries = target.entries if isinstance(target, Made) else _only(dict, target)
        for key, value in zip(flat[::2], flat[1::2], strict=True):
            # Hashing nested tuples can be made to take for ever.
            if not isinstance(key, (*_KEYS, Made)):
                raise _RefusedError(f"a dict key of type {type(key).__name__}")
            entries[key] = value

    def _global(self, argument: str) -> None:
        self._name(*argument.split(" ", 1))

    def _stack_global(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._name(_only(str, module), _only(str, name))

    def _name(self, module: str, name: str) -> None:
        # Protocol 2 and older write Python 2's name of the module.
        dotted = f"{'builtins' if module == '__builtin__' else module}.{name}"
        if not self._rules.knows(dotted):
            raise _RefusedError(f"a call of {dotted!a:.80}")
        self._stack.append(Name(dotted))

    def _reduce(self) -> None:
        arguments, called = self._stack.pop(), self._stack.pop()
        name, given = _only(Name, called).dotted, _only(tuple, arguments)
        if name != _ORDERED_DICT:
            self._stack.append(Made(name, given))
            return
        self._stack.append({})
        self._fill([item for pair in (given[0] if given else []) for item in pair])

    def _newobj(self) -> None:
        self._reduce()

    def _build(self) -> None:
        state = self._stack.pop()
        if isinstance(self._stack[-1], Made):
            self._stack[-1].state = state
        else:
            _only(dict, self._stack[-1])  # attributes of an ordered dict: versions of torch's layers

    def _binpersid(self) -> None:
        try:
            self._stack.append(self._rules.outside(self._stack.pop()))
        except ValueError as error:
            raise _RefusedError(str(error)) from error


def _only(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise _RefusedError(f"{type(value).__name__} where a pickle of weights has {kind.__name__}")
    return value
