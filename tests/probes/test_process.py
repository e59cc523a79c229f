"""Imports, shared objects, compilers, collections."""

import gc
import sys
from types import SimpleNamespace

import pytest

from jitwarmup.probes import process
from jitwarmup.probes.process import Children, Collections, Imports, SharedObjects


def described(work):
    return [(item.kind, item.count, item.reason) for item in work]


def test_imports_are_told_by_their_largest_packages():
    work = Imports().delta(("os",), ("os", "a", "a.x", "a.y", "b", "b.x", "c", "d"))
    assert described(work) == [("import", 7, "a 3, b 2, c 1, 1 more")]


def test_modules_that_inductor_generates_are_no_imports():
    generated = "c" + "abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrs"
    assert Imports().delta((), (generated, f"torch._inductor.{generated}")) == []


def test_a_module_that_went_and_another_that_came_is_seen():
    assert described(Imports().delta(("a", "b"), ("a", "c"))) == [("import", 1, "c 1")]


def test_an_import_moves_the_stamp_and_is_seen(make_look, monkeypatch, module):
    look = make_look(Imports())
    try:
        seen = look(lambda: sys.modules.__setitem__("zz_a_new_module", module("zz_a_new_module")))
    finally:
        sys.modules.pop("zz_a_new_module", None)
    assert described(seen.work) == [("import", 1, "zz_a_new_module 1")]
    assert described(look(lambda: None).work) == []


def test_names_are_read_again_when_another_thread_imports_meanwhile(monkeypatch):
    class Changing(dict):
        tries = 0

        def __iter__(self):
            self.tries += 1
            if self.tries < 3:
                raise RuntimeError("dictionary changed size during iteration")
            return super().__iter__()

    monkeypatch.setattr(process.sys, "modules", Changing(a=1))
    assert Imports().snapshot() == ("a",)
    monkeypatch.setattr(process.sys, "modules", Changing(a=1, tries=0))
    process.sys.modules.tries = -100
    assert Imports().snapshot() == ()


def maps_file(tmp_path, *paths):
    lines = [f"7f00-7f01 r-xp 00000000 fe:00 123 {path}" for path in paths]
    file = tmp_path / "maps"
    file.write_text(
        "\n".join(["5500-5501 r--p 00000000 00:00 0 [heap]", "7e00-7e01 rw-p 00000000 00:00 0", *lines, ""])
    )
    return file


def test_shared_objects_are_told_by_file_name_and_generated_ones_by_number(tmp_path):
    generated = "/var/cache/torchinductor/" + "c" + "abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrs" + ".so"
    probe = SharedObjects(str(maps_file(tmp_path, "/lib/libc.so.6", "/lib/libc.so.6")))
    assert probe.arm().state == "armed"
    before = probe.snapshot()
    maps_file(
        tmp_path, "/lib/libc.so.6", "/opt/my lib/libcudnn_ops.so.9", "/opt/liba.so", "/opt/libb.so", "/opt/libz.so"
    )
    assert described(probe.delta(before, probe.snapshot())) == [
        ("dlopen", 4, "liba.so, libb.so, libcudnn_ops.so.9, 1 more")
    ]
    maps_file(tmp_path, "/lib/libc.so.6", generated)
    assert described(probe.delta(before, probe.snapshot())) == [("dlopen", 1, "1 compiled here")]
    assert described(probe.delta(before, before)) == []


def test_a_system_that_does_not_tell_its_mappings_is_unavailable(tmp_path):
    probe = SharedObjects(str(tmp_path / "none"))
    assert probe.arm().state == "unavailable"
    assert probe.snapshot() == frozenset()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_extension_of_a_first_import_is_seen(child):
    script = """
        import importlib, importlib.util, json, sys
        from jitwarmup.probes.probe_set import ProbeSet
        names = ("_lsprof", "_statistics", "_crypt", "_decimal", "_csv")
        new = [name for name in names if name not in sys.modules and importlib.util.find_spec(name).origin != "built-in"]
        watch = ProbeSet()
        token = watch.open()
        importlib.import_module(new[0])
        seen = watch.close(token)
        print(json.dumps([new[0], {work.kind: work.reason for work in seen.work}]))
    """
    name, seen = child(script)
    assert name in seen["import"]
    assert name in seen["dlopen"]


def test_full_collections_are_ambient_and_told_with_their_seconds(make_look):
    look = make_look(Collections())
    seen = look(lambda: [gc.collect() for _ in range(2)])
    [work] = seen.work
    assert (work.kind, work.count, work.recurrence, work.reason) == ("gc.collect", 2, "ambient", None)
    assert work.duration_s > 0


def test_young_collections_are_told_only_where_they_are_long(make_look):
    look = make_look(Collections())
    gc.disable()
    try:
        gc.collect()
        assert look(gc.collect, 0).work == ()
        young = [[] for _ in range(1_000_000)]  # 20 ms on a fast machine; one of a millisecond is told
        assert [item.kind for item in look(gc.collect, 0).work] == ["gc.collect"]
        assert len(young) == 1_000_000
    finally:
        gc.enable()


def compile_context(module, monkeypatch, answer):
    """torch's place that tells whether this thread compiles."""
    context = SimpleNamespace(try_get=answer)
    monkeypatch.setitem(sys.modules, "torch._guards", module("torch._guards", CompileContext=context))


def test_a_collection_within_a_compile_says_so(make_look, module, monkeypatch):
    look = make_look(Collections())
    compile_context(module, monkeypatch, object)
    assert look(gc.collect).work[0].reason == "within a compile"


def test_the_collectors_callback_is_put_in_once_and_taken_out():
    before = list(gc.callbacks)
    probe = Collections()
    probe.arm()
    probe.arm()
    assert len(gc.callbacks) == len(before) + 1
    probe.disarm()
    probe.disarm()
    assert gc.callbacks == before


def test_the_callback_never_raises(make_look, module, monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    look = make_look(Collections())
    compile_context(module, monkeypatch, interrupted)
    assert look(gc.collect).work == ()


def test_a_collection_that_began_before_the_run_is_not_measured(make_look):
    probe = Collections()
    look = make_look(probe)
    assert look(probe._on_collection, "stop", {"generation": 2}).work == ()


def test_children_are_dormant_without_dynamo_and_armed_with_it(monkeypatch, fake_dynamo):
    probe = Children()
    assert probe.arm().state == "armed"
    assert fake_dynamo.handler.start_callbacks
    probe.disarm()
    assert not fake_dynamo.handler.start_callbacks
    fake_dynamo.handler.register_start_callback = lambda callback: None
    assert probe.arm().state == "unavailable"
    probe.disarm()
    monkeypatch.delitem(sys.modules, "torch._dynamo.callback")
    assert probe.arm().reason == "not loaded"
    monkeypatch.setattr(process, "USAGE", None)
    assert probe.arm().state == "unavailable"
