"""transformers' streamers: what they are, and stand-ins that deliver nothing."""

from __future__ import annotations

from typing import Any

from jitwarmup.host.arguments.loaded import loaded_class


def is_streamer(value: Any) -> bool:
    """Whether a value is a transformers streamer."""
    kind = loaded_class("transformers.generation.streamers", "BaseStreamer")
    return kind is not None and isinstance(value, kind)


def silent_streamer() -> Any:
    """A stand-in for a streamer that delivers nothing, an instance of transformers' BaseStreamer where that is loaded."""
    base = loaded_class("transformers.generation.streamers", "BaseStreamer")
    return type("SilentStreamer", (Silent, base), {})() if base is not None else Silent()


class Silent:
    """Answers a streamer's methods, and any other, with nothing."""

    def put(self, value: Any) -> None:
        """Deliver nothing."""

    def end(self) -> None:
        """Deliver nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_, **__: None
