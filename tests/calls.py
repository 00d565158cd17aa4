"""Whether the calls of a module fit the signatures of our functions, without making them."""

import ast
import inspect
from collections import Counter
from collections.abc import Iterator, Mapping
from importlib import import_module

OURS = ("benchmarks", "diagxnet", "stages", "tests")
CHANGING = ("pop", "update", "setdefault", "clear")
"""Methods after which the keys of a dictionary are not known here."""

UNKNOWN: tuple[set[str], bool] = (set(), False)


def misfits(source: str, names: Mapping[str, object]) -> tuple[list[str], int]:
    """What is wrong with calls in a module's `source`, `LINE: NAME: what`; and how many calls were looked at.

    names: the module's globals. Looked at: calls of our functions and classes by a name that the calling function does
    not bind for itself. A `**` counts where it is a dictionary of keys that the source tells. That of a `model_dump()`
    is refused: each new param is a key more, and the stages alone keep up with them.
    """
    found, count = [], 0
    for scope in _scopes(ast.parse(source)):
        here = _Scope(scope, names)
        for call in (node for node in ast.walk(scope) if isinstance(node, ast.Call)):
            try:
                function = here.resolved(call.func)
                if callable(function) and _ours(function) and not _is_error(function):
                    here.bind(inspect.signature(function), call)
                    count += 1
            except (TypeError, AttributeError, ImportError) as error:
                found.append(f"{call.lineno}: {ast.unparse(call.func)}: {error}")
    return found, count


def _scopes(tree: ast.Module) -> Iterator[ast.stmt]:
    """Top-level statements; of a class, those of its body."""
    for statement in tree.body:
        yield from statement.body if isinstance(statement, ast.ClassDef) else [statement]


def _ours(thing: object) -> bool:
    name = thing.__name__ if inspect.ismodule(thing) else getattr(thing, "__module__", None) or ""
    return name.split(".")[0] in OURS


def _is_error(thing: object) -> bool:
    """Exceptions take what they are given, and some have no signature."""
    return inspect.isclass(thing) and issubclass(thing, BaseException)


class _Scope:
    """A function with all that lies in it, or another statement: what its names stand for."""

    def __init__(self, scope: ast.stmt, names: Mapping[str, object]) -> None:
        self.names, self.imports = names, {}
        self.values: dict[str, list[ast.expr | None]] = {}
        """Of each name that the function binds for itself: what it is given and what is added; None: not known."""
        self.given: Counter[str] = Counter()
        for node in ast.walk(scope) if isinstance(scope, ast.FunctionDef) else ():
            self._note(node)

    def _note(self, node: ast.AST) -> None:
        if isinstance(node, ast.ImportFrom):
            self.imports |= {each.asname or each.name: (node.module, each.name) for each in node.names}
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                self._add(target, node.value)
        elif isinstance(node, ast.AnnAssign) or (isinstance(node, ast.AugAssign) and isinstance(node.op, ast.BitOr)):
            self._add(node.target, node.value)
            self.given[getattr(node.target, "id", "")] -= isinstance(node, ast.AugAssign)
        elif isinstance(node, ast.arg):
            self.values.setdefault(node.arg, []).append(None)
            self.given[node.arg] += 1
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            self.values.setdefault(node.id, [])
            self.given[node.id] += 1
        elif isinstance(node, ast.Delete):
            for target in node.targets:
                self._add(getattr(target, "value", target), None)
        elif isinstance(node, ast.Attribute) and node.attr in CHANGING:
            self._add(node.value, None)

    def _add(self, target: ast.expr, value: ast.expr | None) -> None:
        if isinstance(target, ast.Name):
            self.values.setdefault(target.id, []).append(value)
        elif isinstance(target, ast.Subscript):
            self._add(target.value, ast.Dict([target.slice], [value]))
        elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            for each, own in zip(target.elts, value.elts, strict=False):
                self._add(each, own)

    def resolved(self, expression: ast.expr) -> object:
        """The object that a dotted name stands for; None where the source does not tell, or it is not ours."""
        if isinstance(expression, ast.Attribute):
            base = self.resolved(expression.value)
            known = (inspect.ismodule(base) or inspect.isclass(base)) and _ours(base)
            return getattr(base, expression.attr) if known else None
        if not isinstance(expression, ast.Name):
            return None
        if expression.id in self.imports:
            module, name = self.imports[expression.id]
            return getattr(import_module(module), name) if module.split(".")[0] in OURS else None
        return None if expression.id in self.values else self.names.get(expression.id)

    def bind(self, signature: inspect.Signature, call: ast.Call) -> None:
        """TypeError where the arguments do not fit."""
        positional = [argument for argument in call.args if not isinstance(argument, ast.Starred)]
        keywords, whole = [], len(positional) == len(call.args)
        for keyword in call.keywords:
            keys, all_of_them = ({keyword.arg}, True) if keyword.arg else self._keys(keyword.value)
            keywords += sorted(keys)
            whole &= all_of_them
        if twice := {key for key in keywords if keywords.count(key) > 1}:
            raise TypeError(f"got {min(twice)!r} twice")
        (signature.bind if whole else signature.bind_partial)(*positional, **dict.fromkeys(keywords))

    def _keys(self, expression: ast.expr | None) -> tuple[set[str], bool]:
        """Keys that a dictionary certainly has, and whether those are all. TypeError where params make them."""
        if isinstance(expression, ast.Dict):
            pairs = zip(expression.keys, expression.values, strict=True)
            parts = [
                self._keys(value) if key is None else ({key.value}, True) if isinstance(key, ast.Constant) else UNKNOWN
                for key, value in pairs
            ]
        elif isinstance(expression, ast.BinOp) and isinstance(expression.op, ast.BitOr):
            parts = [self._keys(expression.left), self._keys(expression.right)]
        elif isinstance(expression, ast.Name) and expression.id in self.values:
            if self.given[expression.id] != 1:
                return UNKNOWN
            parts = [self._keys(value) for value in self.values[expression.id]] or [UNKNOWN]
            if UNKNOWN in parts:  # a key may have been taken away
                return UNKNOWN
        elif isinstance(expression, ast.Name) and isinstance(self.names.get(expression.id), dict):
            parts = [({*self.names[expression.id]}, True)]
        elif isinstance(expression, ast.Call) and getattr(expression.func, "attr", "") == "model_dump":
            raise TypeError("a section of params.yaml is spread into it (call what the stage calls instead)")
        else:
            return UNKNOWN
        return set().union(*(keys for keys, _ in parts)), all(whole for _, whole in parts)
