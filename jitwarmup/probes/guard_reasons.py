"""
Why a graph was captured again, told without telling what was in the arguments.

A guard's text holds values: ``n == 41``, ``s == 'my password'``, ``2 <= x.size()[0] <= 49`` (49 may be an argument that
was compared with a size). So no text passes: a reason is *rebuilt* from the forms that torch prints (read in
``torch/csrc/dynamo/guards.cpp`` and ``torch/_dynamo/guards.py`` of 2.8 to 2.15, and collected from 2.13), and only the
numbers of tensor sizes, strides, ranks and device indices are kept. Of everything else only the name of the guarded
variable is told, since that is in the source code: ``value of n changed``. A key of a dict is data, and so are the
keywords of a ``**kwargs`` and the names in a ``ModuleDict``, which torch spells as an attribute's (``_modules['proj']``).
"""

from __future__ import annotations

import re
from collections.abc import Callable

UNKNOWN = "a guarded value changed"
LONGEST_TEXT = 2_000
LONGEST_NAME = 120
LONGEST_PART = 40

_WORD = r"[^\W\d]\w*"
_STRING = r"(?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")"
_STEP = rf"(?:\.{_WORD}(?!\w*\()|\[(?:{_STRING}|-?\d+)\])"
_SOURCE = rf"(?:[LG]\[(?:'{_WORD}'|\"{_WORD}\")\]|{_WORD}){_STEP}*"
_NUMBER = r"-?\d[\w.+-]*"
_COMPARES = r"(?:==|!=|<=|>=|<|>|is not|is|not in|in)"

_BACKENDS = ("CPU", "CUDA", "HIP", "XPU", "MPS", "XLA", "HPU", "MTIA", "Meta", "PrivateUse1")
_DTYPE = (
    "(?:Byte|Char|Short|Int|Long|Half|Float|Double|ComplexHalf|ComplexFloat|ComplexDouble|Bool|BFloat16"
    "|Q?U?Int(?:8|16|32|64)|Float8_e[a-z0-9]{3,8}|Float4_e2m1fn_x2)"
)
_STATES = {
    "grad_mode": "grad mode",
    "torch_function": "torch function",
    "torch_function_all_disabled": "torch function",
    "deterministic_algorithms": "deterministic algorithms",
    "deterministic_algorithms_warn_only": "deterministic algorithms",
    "allow_tf32": "TF32",
    "allow_fp16_reduce": "fp16 reduction",
    "allow_bf16_reduce": "bf16 reduction",
    "num_threads": "number of threads",
    "default_dtype": "default dtype",
}
_WRAPPER = re.compile(
    r"___\w+|len|str|type|list|tuple|set|dict|frozenset|sorted|hash|bool|int|float|isinstance|hasattr|getattr"
    r"|dict\.keys|(?:dict|set|list|tuple)\.__(?:contains|getitem)__|math\.isnan"
)
_TENSOR = rf"tensor '(?P<name>{_SOURCE})' "


def rebuild(text: str) -> str:
    """
    The reason a guard's text stands for, without any value of an argument in it; never raises.

    ``0/0: tensor 'x' size mismatch at index 0. expected 8, actual 9`` reads
    ``size of x changed at dimension 0: expected 8, got 9``.
    """
    head = re.sub(r"^\d+/\d+(?:_\d+)?: ", "", text[:LONGEST_TEXT].split("\n", 1)[0]).split("  #", 1)[0].strip()
    for pattern, form in _FORMS:
        if found := pattern.match(head):
            return form(found) if callable(form) else form.format(**_groups(found))
    name = _leading_name(head)
    return UNKNOWN if name is None else f"value of {name} changed"


def public_name(source: str) -> str:
    """
    The guarded variable as its source code names it: ``L['x'].shape`` reads ``x.shape``.

    Keys, and indices that could be data, read ``[...]``.
    """
    parts = re.findall(rf"[LG]\[['\"]({_WORD})['\"]\]|^({_WORD})|\.({_WORD})|\[({_STRING}|-?\d+)\]", source)
    name, before = "", ""
    for quoted, bare, attribute, key in parts:
        if quoted or bare:
            before = (quoted or bare)[:LONGEST_PART]
            name = before
        elif attribute:
            before = "." + attribute[:LONGEST_PART]
            name += before
        else:
            name += _public_key(key, before)
            before = ""
    return name[:LONGEST_NAME]


def _public_key(key: str, owner: str) -> str:
    """A position as it is; all other keys are data."""
    position = key.isdigit() and len(key) <= 3 and (owner.startswith(".") or owner.endswith("args"))
    return f"[{key}]" if position else "[...]"


def _leading_name(head: str) -> str | None:
    """
    The variable a guard begins with, wrapped in known functions or not; None where the text is of another form.

    Only the beginning is read: what stands on the other side of a comparison is a value.
    """
    rest, wrapped = head.removeprefix("not "), False
    while call := re.match(r"([\w.]+)\(", rest):
        if not _WRAPPER.fullmatch(call[1]):
            return None
        rest, wrapped = rest[call.end() :], True
    rest, literals = re.subn(rf"^(?:{_STRING}|{_NUMBER})(?:, | {_COMPARES} )", "", rest)
    ends = rf"[,)]| {_COMPARES} |$" if wrapped or literals else rf" {_COMPARES} "
    found = re.match(rf"({_SOURCE})(?={ends})", rest)
    return public_name(found[1]) if found else None


def _groups(found: re.Match[str]) -> dict[str, str]:
    """What a form's text may tell: the public ``name``, and ``numbers`` where both were found."""
    groups = found.groupdict()
    numbers = f": expected {groups['old']}, got {groups['new']}" if groups.get("old") else ""
    return {**groups, "name": public_name(groups.get("name", "")), "numbers": numbers}


def _dispatch(found: re.Match[str]) -> str:
    name = public_name(found["name"])
    old, new = (
        next((backend for backend in _BACKENDS if backend in re.findall(r"\w+", found[side])), None)
        for side in ("old", "new")
    )
    if old and new and old != new:
        return f"device of {name} changed: expected {old}, got {new}"
    return f"dispatch keys of {name} changed"


def _global_state(found: re.Match[str]) -> str:
    words = [_STATES.get(word) or ("autocast" if word.startswith("autocast") else None) for word in found[1].split()]
    names = list(dict.fromkeys(word for word in words if word))
    return "global state changed" + (": " + ", ".join(names) if names else "")


_COMPARED = rf"(?:{_NUMBER} {_COMPARES} |Eq\(|Ne\()?(?P<name>{_SOURCE})"
_AT = r"(?P<what>size|stride) mismatch at index (?P<at>\d{1,2})\.(?: expected (?P<old>\d+), actual (?P<new>\d+)$)?"
_DTYPES = rf"dtype mismatch\.(?: expected (?P<old>{_DTYPE}), actual (?P<new>{_DTYPE})$)?"
_INDEX = r"Tensor device index mismatch\. Expected device index to be (?P<old>-?\d+), actual (?P<new>-?\d+)$"
_TEXTS: dict[str, str | Callable[[re.Match[str]], str]] = {
    _TENSOR + _AT: "{what} of {name} changed at dimension {at}{numbers}",
    _TENSOR + r"rank mismatch\. expected (?P<old>\d+), actual (?P<new>\d+)$": "rank of {name} changed{numbers}",
    _TENSOR + _DTYPES: "dtype of {name} changed{numbers}",
    _TENSOR + _INDEX: "device of {name} changed: expected index {old}, got {new}",
    _TENSOR + r"dispatch key set mismatch\. expected (?P<old>DispatchKeySet\(.*?\)), actual (?P<new>.*)$": _dispatch,
    _TENSOR + "requires_grad mismatch": "requires_grad of {name} changed",
    rf"expected type of '(?P<name>{_SOURCE})' to be a tensor type": "type of {name} changed",
    rf"___check_type_id\((?P<name>{_SOURCE}),": "type of {name} changed",
    rf"(?:KeyError on|IndexError on|getattr failed on source) (?P<name>{_SOURCE})": "value of {name} changed",
    rf"(?:not )?len\((?P<name>{_SOURCE})\)": "length of {name} changed",
    _COMPARED + r"\.(?P<what>size|stride)\(\)\[(?P<at>\d{1,2})\]": "{what} of {name} changed at dimension {at}",
    r"GLOBAL_STATE changed:(.*)$": _global_state,
    r"___check_(?:global_state|torch_function_mode_stack)\(\)": "global state changed",
    r"utils_device\.CURRENT_DEVICE ": "global state changed: default device",
    r"Duplicate tensors? found": "aliasing of tensors changed",
    r"BACKEND_MATCH failure|___check_current_backend|___needs_nopython": "compile backend changed",
    r"Unexpected recompilation: ": "no failing guard found (first calls in several threads compile each)",
    r"Unable to find recompilation reasons": "torch found no reason",
}
_FORMS = [(re.compile(pattern), form) for pattern, form in _TEXTS.items()]
