"""Reasons are rebuilt: what torch printed, what we say; and no value passes."""

import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from jitwarmup.probes.guard_reasons import UNKNOWN, public_name, rebuild

# Texts collected from torch 2.13 (``n == 41``) and, with ``L['n']``, as torch up to 2.9 prints them.
KNOWN = [
    (
        "0/0: tensor 'x' size mismatch at index 0. expected 8, actual 9",
        "size of x changed at dimension 0: expected 8, got 9",
    ),
    (
        "tensor 'L['x']' size mismatch at index 1. expected 8, actual 9",
        "size of x changed at dimension 1: expected 8, got 9",
    ),
    ("0/0: tensor 'x' size mismatch at index 0. expected s0, actual 9", "size of x changed at dimension 0"),
    (
        "0/1: tensor 'x' stride mismatch at index 1. expected 1, actual 5",
        "stride of x changed at dimension 1: expected 1, got 5",
    ),
    ("0/0: tensor 'x' rank mismatch. expected 1, actual 2", "rank of x changed: expected 1, got 2"),
    ("0/1: tensor 'x' dtype mismatch. expected Float, actual Double", "dtype of x changed: expected Float, got Double"),
    ("0/1: tensor 'x' dtype mismatch. expected Float, actual Hunter", "dtype of x changed"),
    ("0/1: tensor 'x' dtype mismatch. expected hunter2, actual Float", "dtype of x changed"),
    ("0/3: tensor 'x' requires_grad mismatch. expected requires_grad=1", "requires_grad of x changed"),
    (
        "0/0: tensor 'x' Tensor device index mismatch. Expected device index to be 0, actual 1",
        "device of x changed: expected index 0, got 1",
    ),
    (
        (
            "0/4: tensor 'x' dispatch key set mismatch. expected DispatchKeySet(CPU, BackendSelect, AutogradCPU), "
            "actual DispatchKeySet(CUDA, BackendSelect, AutogradCUDA)"
        ),
        "device of x changed: expected CPU, got CUDA",
    ),
    (
        (
            "0/4: tensor 'x' dispatch key set mismatch. expected DispatchKeySet(CPU, ADInplaceOrView), "
            "actual DispatchKeySet(CPU, Python)"
        ),
        "dispatch keys of x changed",
    ),
    ("0/0: expected type of 'L['x']' to be a tensor type, ' but found <class 'int'>", "type of x changed"),
    ("0/0: GLOBAL_STATE changed: grad_mode ", "global state changed: grad mode"),
    ("0/1: GLOBAL_STATE changed: grad_mode num_threads ", "global state changed: grad mode, number of threads"),
    (
        "0/2: GLOBAL_STATE changed: autocast(cpu)_enabled num_threads ",
        "global state changed: autocast, number of threads",
    ),
    ("0/2: GLOBAL_STATE changed: hunter2 ", "global state changed"),
    ("0/0: ___check_torch_function_mode_stack()", "global state changed"),
    ("0/0: utils_device.CURRENT_DEVICE == None  # _dynamo/output_graph.py", "global state changed: default device"),
    ('0/0: Duplicate tensors found: ["a", "b"]', "aliasing of tensors changed"),
    (
        "0/0: n == 41                               # return x + n  # a.py:12 in f\nUser stack trace:\n n=41",
        "value of n changed",
    ),
    ("0/0: L['n'] == 41  # a.py:12 in f", "value of n changed"),
    ("0/0: n == 4.5  # a.py", "value of n changed"),
    ("0/0: s == 'hunter2'  # a.py", "value of s changed"),
    ("0/0: list(dict.keys(n))[0] == 'hunter2'   # a.py", "value of n changed"),
    ("0/0: set.__contains__(s, 'hunter2')   # a.py", "value of s changed"),
    ("0/0: 'hunter2' in L['s']", "value of s changed"),
    ("0/0: ___dict_contains('hunter2', L['n'])", "value of n changed"),
    ("0/2: KeyError on table['hunter2']", "value of table[...] changed"),
    ("0/2: IndexError on L['n'][4711]", "value of n[...] changed"),
    ("0/2: getattr failed on source L['self'].bias", "value of self.bias changed"),
    ("0/1: len(n) != 1", "length of n changed"),
    ("0/1: not len(L['n']) == 41", "length of n changed"),
    ("0/1: ___check_type_id(n, 140653709629536), type=<class 'str'>  # a.py", "type of n changed"),
    (
        "0/0: ___check_obj_id(f, 140653695945440), type=<class 'builtin_function_or_method'>  # a.py",
        "value of f changed",
    ),
    (
        "0/1: 2 <= x.size()[0] <= 49  # a.py (user code shown is first use of this value)",
        "size of x changed at dimension 0",
    ),
    ("0/1: Eq(L['x'].size()[1], 4711)", "size of x changed at dimension 1"),
    ("0/1: x.stride()[0] == 4711", "stride of x changed at dimension 0"),
    ("0/1: s.scale == 3.5  # def forward", "value of s.scale changed"),
    ("0/1: s.cfg['hunter2'] == 5  # def forward", "value of s.cfg[...] changed"),
    ("0/0: G['LIMIT'] == 5  # a.py", "value of LIMIT changed"),
    ("0/0: x is s['hunter2']  # a.py", "value of x changed"),
    ("0/0: x is s[('hunter2', 1)]  # a.py", "value of x changed"),
    (
        "0/0: tensor 'kwargs['past_key_values'].layers[0].keys' size mismatch at index 2. expected 15, actual 19",
        "size of kwargs[...].layers[0].keys changed at dimension 2: expected 15, got 19",
    ),
    ("0/0: BACKEND_MATCH failure: torch.compile detected different backend callables.", "compile backend changed"),
    ("2/1: Unexpected recompilation: runtime guards failed even though they passed", "no failing guard found"),
    ("Unable to find recompilation reasons", "torch found no reason"),
    ("", UNKNOWN),
    ("hunter2", UNKNOWN),
    ("hunter2)", UNKNOWN),
    ("hunter2, 3", UNKNOWN),
    ("Eq(s0, 41)", UNKNOWN),
    ("hunter2(n) == 3", UNKNOWN),
]


@pytest.mark.parametrize(("text", "reason"), KNOWN)
def test_each_form_torch_prints_is_rebuilt(text, reason):
    assert rebuild(text).startswith(reason)
    assert "hunter2" not in rebuild(text)
    assert "4711" not in rebuild(text)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("x", "x"),
        ("L['x']", "x"),
        ("L['self']._modules['proj']._parameters['weight']", "self._modules[...]._parameters[...]"),
        ("L['kwargs']['input_ids']", "kwargs[...]"),
        ("L['kwargs']['input ids']", "kwargs[...]"),
        ("L['kwargs']['a']['b']", "kwargs[...][...]"),
        ("L['batch']['user@example.org']", "batch[...]"),
        ("L['batch']['user']", "batch[...]"),
        ("L['users'][4711]", "users[...]"),
        ("L['args'][0]", "args[0]"),
        ("L['self'].layers[12].weight", "self.layers[12].weight"),
        ("L['self'].users[471112]", "self.users[...]"),
    ],
)
def test_only_names_of_the_source_code_are_told(source, name):
    assert public_name(source) == name


def test_a_name_cannot_grow_without_bound():
    assert len(rebuild("x" + ".attribute" * 500 + " == 1")) < 150


CANARY_TEXT = "s3cr3t-€ canary"
CANARY_WORD = "zzcanaryzz"
CANARY_INT = 918273645
CANARY_FLOAT = 31415.92653
VALUES = st.sampled_from([CANARY_WORD, CANARY_TEXT, CANARY_INT, CANARY_FLOAT])
NESTED = st.recursive(
    VALUES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.tuples(inner), st.dictionaries(VALUES, inner, max_size=2)),
    max_leaves=6,
).map(repr)
RAW = st.one_of(NESTED, st.just(f"<Secret {CANARY_WORD}>"), st.just(f"Secret({CANARY_WORD})"))
NAMES = st.sampled_from(["n", "L['n']", "G['n']", "self.n", "L['kwargs']['n']", "L['n'].a[3]", "n[0]"])
GUARDS = st.sampled_from(
    [
        "{name} == {value}",
        "{name} != {value}",
        "{name} is {value}",
        "not {name} == {value}",
        "{value} <= {name}",
        "{value} == {name}",
        "{value} in {name}",
        "{name}[{value}] == {value}",
        "{name}.get({value}) == 3",
        "len({name}) == {value}",
        "str({name}) == {value}",
        "list(dict.keys({name}))[0] == {value}",
        "___dict_contains({value}, {name})",
        "___check_type_id({name}, 7), type={value}",
        "set.__contains__({name}, {value})",
        "hasattr({name}, {value})",
        "tensor '{name}[{value}]' size mismatch at index 0. expected 3, actual 4",
        "tensor '{name}' size mismatch at index {value}. expected 3, actual 4",
        "tensor '{name}' dtype mismatch. expected {value}, actual Float",
        "tensor '{name}' {value} mismatch. expected 1, actual 2",
        "GLOBAL_STATE changed: {value} grad_mode",
        "{name}.size()[0] == {value}",
        "{value} <= {name}.size()[0]",
        "Eq({name}.size()[0] + {value}, {value})",
        "{name}.size()[0]*{value} == {name}",
        'Duplicate tensors found: ["{value}"]',
        "BACKEND_MATCH failure: {value}",
        "___check_obj_id({name}, {value})",
        "KeyError on {name}[{value}]",
        "getattr failed on source {name}[{value}]",
        "unknown {value}",
        "{value}",
    ]
)
# The one number that may pass is a tensor's own size: no template puts a value there.
CANARIES = re.compile(r"zzcanary|s3cr3t|918273|31415")


@settings(max_examples=1000)
@given(GUARDS, NAMES, RAW, st.sampled_from(["", "0/0: ", "12/3_1: "]), st.sampled_from(["", "  # a.py\nUser stack"]))
def test_no_value_in_a_guard_passes(guard, name, value, prefix, suffix):
    assert not CANARIES.search(rebuild(prefix + guard.format(name=name, value=value) + suffix))


@settings(max_examples=1000)
@given(
    st.text(max_size=300),
    st.sampled_from(list(" '\"([{=<,:#\n")),  # glued to a letter before it, a number would be an identifier's end
    st.sampled_from([CANARY_TEXT, str(CANARY_INT), str(CANARY_FLOAT)]),
    st.text(max_size=300),
)
def test_whatever_the_text_is_a_canary_in_it_does_not_pass(before, between, canary, after):
    assume(not CANARIES.search(before + after))
    assert not CANARIES.search(rebuild(before + between + canary + after))


@given(st.text(max_size=3000))
def test_any_text_has_a_short_reason(text):
    assert 0 < len(rebuild(text)) < 300
