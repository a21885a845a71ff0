"""Alters each check in every small way there is and shows that its examples notice: a score per check.

``python .ci/mutate.py [WORD ...]`` prints what survived; words narrow it to checks whose id holds one of them.
Altered are comparisons, ``and`` and ``or``, ``not``, ``any`` and ``all``, numbers, truth values and limits of the check
function. A mutant is killed when an example comes out with another outcome or without the words it must contain.
"""

from __future__ import annotations

import ast
import copy
import inspect
import sys
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from collector import examples, plugins
from collector.api import Check
from collector.examples import Example

FLOOR_OVERALL = 0.85
FLOOR_EACH = 0.5

COMPARED: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.In: (ast.NotIn,), ast.NotIn: (ast.In,), ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}  # fmt: skip
SWAPPED = {"any": "all", "all": "any", "ok": "fail", "fail": "ok", "min": "max", "max": "min"}


@dataclass
class Score:
    """What became of the mutants of one check."""

    killed: int = 0
    survived: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """All mutants."""
        return self.killed + len(self.survived)

    @property
    def share(self) -> float:
        """Share of the mutants that were killed; 1 where there is nothing to alter."""
        return self.killed / self.total if self.total else 1.0


def mutants(function: ast.FunctionDef) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Every altered copy of a function, and what was altered in it."""
    for number, node in enumerate(ast.walk(function)):
        for change in range(_changes(node)):
            other = copy.deepcopy(function)
            altered = next(item for place, item in enumerate(ast.walk(other)) if place == number)
            before = ast.unparse(altered)
            after = _alter(altered, change)
            yield f"line {getattr(node, 'lineno', 0)}: {before} -> {after}", other


def _changes(node: ast.AST) -> int:
    match node:
        case ast.Compare(ops=[operator]):
            return len(COMPARED[type(operator)])
        case ast.BoolOp() | ast.UnaryOp(op=ast.Not()):
            return 1
        case ast.Call(func=ast.Name(id=name)) if name in SWAPPED:
            return 1
        case ast.Constant(value=bool()):
            return 1
        case ast.Constant(value=int()):
            return 2
    return 0


def _alter(node: Any, change: int) -> str:
    kind: Any = node  # matched on its own name, so that ``node`` is not narrowed to what may not be set
    match kind:
        case ast.Compare():
            node.ops = [COMPARED[type(node.ops[0])][change]()]
        case ast.BoolOp():
            node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        case ast.UnaryOp():
            node.op = ast.UAdd()
            node.operand = ast.Call(ast.Name("bool", ast.Load()), [node.operand], [])
        case ast.Call(func=ast.Name()):
            node.func.id = SWAPPED[node.func.id]
        case ast.Constant(value=bool()):
            node.value = not node.value
        case ast.Constant(value=int()):
            node.value += 1 if change else -1
    return ast.unparse(ast.fix_missing_locations(node))


def score(check: Check, shown: list[Example]) -> Score:
    """How many mutants of a check its examples kill; of one that only delegates, the mutants of what it calls."""
    names = {**check.function.__globals__, **inspect.getclosurevars(check.function).nonlocals}
    own = _parsed(check.function)
    parts = [own]
    if not any(mutants(own)):
        parts = list(_reached(own, check.function, names, {}).values())
    result = Score()
    for part in parts:
        for what, mutant in mutants(part):
            others = [other for other in parts if other is not part]
            scope: dict[str, Any] = dict(names)
            module = ast.fix_missing_locations(ast.Module([mutant, *others], []))
            exec(compile(module, check.module, "exec"), scope)  # noqa: S102
            made = scope[own.name]
            keywords = {name: value for name, value in (made.__kwdefaults__ or {}).items() if name in check.params}
            altered = replace(check, function=made, params={**check.params, **keywords})
            if all(_is_met(example, altered) for example in shown):
                result.survived.append(what)
            else:
                result.killed += 1
    return result


def _parsed(function: Callable[..., Any]) -> ast.FunctionDef:
    """The function without its decorators, at the lines where it stands.

    Of one made in another, limits that the other was given stand as the values they have: that is where they are known.
    """
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    (parsed,) = tree.body
    assert isinstance(parsed, ast.FunctionDef), f"{function} is not a function with a name"
    parsed.decorator_list = []
    values = [(function.__kwdefaults__ or {}).get(argument.arg) for argument in parsed.args.kwonlyargs]
    parsed.args.kw_defaults = [
        default if default is None or _gives(default, function, value) else ast.parse(repr(value), mode="eval").body
        for default, value in zip(parsed.args.kw_defaults, values, strict=True)
    ]
    ast.increment_lineno(tree, function.__code__.co_firstlineno - 1)
    return parsed


def _gives(default: ast.expr, function: Callable[..., Any], value: object) -> bool:
    """Whether the module of a function gives a default the value it has."""
    try:
        return bool(eval(ast.unparse(default), dict(function.__globals__)) == value)  # noqa: S307
    except NameError:
        return False


def _reached(
    parsed: ast.FunctionDef, function: Callable[..., Any], names: dict[str, Any], found: dict[str, ast.FunctionDef]
) -> dict[str, ast.FunctionDef]:
    """The function and those of its module that it comes to call, each under the name it is called by."""
    found[parsed.name] = parsed
    for node in ast.walk(parsed):
        if not isinstance(node, ast.Name) or node.id in found:
            continue
        called = names.get(node.id)
        if inspect.isfunction(called) and called.__globals__ is function.__globals__:
            other = _parsed(called)
            other.name = node.id
            _reached(other, called, names, found)
    return found


def _is_met(example: Example, check: Check) -> bool:
    outcome, reason = example.run(check)
    return outcome == example.outcome and example.reason in reason


def main(words: list[str]) -> int:
    """Print the scores; 1 when one is too low."""
    library = plugins.load()
    shown: dict[str, list[Example]] = defaultdict(list)
    for example in examples.parse(library.examples, library.checks):
        shown[example.check].append(example)
    scores = {
        check.id: score(check, shown[check.id])
        for check in library.checks.values()
        if not check.retired and (not words or any(word in check.id for word in words))
    }
    for name, one in sorted(scores.items(), key=lambda item: (item[1].share, item[0])):
        print(f"{one.share:4.0%}  {one.killed:3}/{one.total:<3}  {name}")
        for what in one.survived:
            print(f"                 {what}")
    total, killed = sum(one.total for one in scores.values()), sum(one.killed for one in scores.values())
    low = [name for name, one in scores.items() if one.share < FLOOR_EACH]
    overall = killed / total if total else 1.0
    print(f"{killed} of {total} mutants of {len(scores)} checks killed, {overall:.1%}; floor {FLOOR_OVERALL:.0%}")
    if low:
        print(f"below {FLOOR_EACH:.0%}: {', '.join(sorted(low))}")
    return int(bool(low) or overall < FLOOR_OVERALL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
