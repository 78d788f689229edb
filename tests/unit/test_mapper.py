"""Events to JSON and back: a closed registry, strict loading, and every version ever stored."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from eventsourcing.persistence import StoredEvent

from domain.aggregate import Event
from domain.generation import Generation
from infrastructure.event_store.mapper import (
    AGGREGATES,
    JsonMapper,
    UnknownEventError,
    UnreadableEventError,
    event_classes,
    stored_topic,
)
from tests.generations import new_generation

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
STORED = Path(__file__).parents[1] / "data" / "stored_events"
FILES = sorted(STORED.glob("*.json"))
SHAPES = STORED.parent / "event_shapes.json"
MAPPER = JsonMapper()


def requested() -> StoredEvent:
    return MAPPER.to_stored_event(new_generation(NOW, prompt="a secret wish").pending_events[0])


def changed(stored: StoredEvent, **fields: Any) -> StoredEvent:
    state = json.dumps(json.loads(stored.state) | fields).encode()
    return StoredEvent(stored.originator_id, stored.originator_version, stored.topic, state)


def renamed(stored: StoredEvent, topic: str) -> StoredEvent:
    return StoredEvent(stored.originator_id, stored.originator_version, topic, stored.state)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_stored_version_can_still_be_read(file: Path) -> None:
    stored = StoredEvent(uuid4(), 1, file.stem, file.read_bytes())
    event = MAPPER.to_domain_event(stored, NOW)
    assert event.topic == file.stem.partition("@")[0]
    assert event.timestamp == NOW
    if stored_topic(event.topic, event.version) == file.stem:
        assert json.loads(MAPPER.to_stored_event(event).state) == json.loads(file.read_bytes())


def test_every_current_event_has_its_stored_version_among_the_test_data() -> None:
    assert {file.stem for file in FILES} == MAPPER.topics


def test_an_event_comes_back_as_it_was() -> None:
    stored = requested()
    event = MAPPER.to_domain_event(stored)
    assert MAPPER.to_stored_event(event) == stored
    assert isinstance(event, Generation.Requested)
    assert stored.topic == "generation.requested@1"


def test_personal_data_lies_in_one_part_and_nowhere_else() -> None:
    fields = json.loads(requested().state)
    assert fields.pop("personal")["prompt"] == "a secret wish"
    assert "a secret wish" not in json.dumps(fields)


@pytest.mark.parametrize("topic", ["generation.painted@1", "generation.requested@2", "x", "x@y"])
def test_an_unknown_topic_or_version_says_that_a_newer_release_wrote_it(topic: str) -> None:
    with pytest.raises(UnknownEventError, match="Run the release that wrote it"):
        MAPPER.to_domain_event(renamed(requested(), topic))


@pytest.mark.parametrize(
    "wrong",
    [
        {"units": "1"},
        {"units": None},
        {"colour": "red"},
        {"user_id": "nobody"},
        {"personal": {"prompt": "a secret wish", "age": 7}},
    ],
)
def test_wrong_types_and_unknown_fields_are_errors_that_show_no_value(
    wrong: dict[str, Any],
) -> None:
    with pytest.raises(UnreadableEventError) as refused:
        MAPPER.to_domain_event(changed(requested(), **wrong))
    assert "generation.requested@1" in str(refused.value)
    assert "secret" not in str(refused.value)


def test_bytes_that_are_no_json_are_unreadable() -> None:
    stored = StoredEvent(uuid4(), 1, "generation.requested@1", b"{")
    with pytest.raises(UnreadableEventError):
        MAPPER.to_domain_event(stored)


class TestUpcasting:
    """A later release, in which `CallStarted` is at its third version."""

    @pytest.fixture(autouse=True)
    def _later_release(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Generation.CallStarted, "version", 3)
        name = "generation.call_started"
        self.mapper = JsonMapper(
            upcasts={
                (name, 1): lambda old: {**old, "model": old["model"] or "sketch-1"},
                (name, 2): lambda old: {k: v for k, v in old.items() if k != "region"},
            }
        )
        self.old = {
            "event_id": str(uuid4()),
            "metadata": {"actor": "worker:1"},
            "call": 1,
            "provider": "sketch",
            "model": "",
            "images": [1],
        }

    def load(self, version: int, **fields: Any) -> Generation.CallStarted:
        state = json.dumps(self.old | fields).encode()
        stored = StoredEvent(UUID(int=1), 2, f"generation.call_started@{version}", state)
        event = self.mapper.to_domain_event(stored)
        assert isinstance(event, Generation.CallStarted)
        return event

    def test_an_old_event_goes_through_every_later_version(self) -> None:
        assert self.load(1).model == "sketch-1"
        assert self.load(2, region="eu").model == ""
        assert self.load(3, model="m").model == "m"

    def test_a_version_without_a_way_up_is_unknown(self) -> None:
        with pytest.raises(UnknownEventError):
            self.load(0)

    def test_old_and_new_versions_are_known_topics(self) -> None:
        known = {f"generation.call_started@{version}" for version in (1, 2, 3)}
        assert known <= self.mapper.topics

    def test_the_new_version_is_written(self) -> None:
        event = self.load(1)
        assert self.mapper.to_stored_event(event).topic == "generation.call_started@3"


@pytest.mark.parametrize("version", [2, 3])
def test_what_readers_just_learn_is_written_as_a_version_before(
    version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "generation.call_started"

    def without_region(fields: dict[str, Any]) -> dict[str, Any]:
        return {k: v for k, v in fields.items() if k != "region"}

    writing = JsonMapper(downcasts={(name, 3): without_region, (name, 2): without_region})
    generation = new_generation(NOW)
    generation.start_call(provider="sketch", model="m", images=(1,))
    started = generation.collect_events()[-1]
    written = MAPPER.to_stored_event(started)
    monkeypatch.setattr(Generation.CallStarted, "version", version)
    stored = writing.to_stored_event(started)
    assert stored.topic == written.topic == f"{name}@1"
    assert json.loads(stored.state) == json.loads(written.state)


def test_the_fields_of_a_version_never_change() -> None:
    """What differs here is a new version: an older release could not read it, and would park it."""
    classes = event_classes(AGGREGATES).values()
    now = {stored_topic(cls.topic, cls.version): _shape(cls) for cls in classes}
    stored = json.loads(SHAPES.read_text())
    assert now == {topic: stored[topic] for topic in now}


def _shape(cls: type[Event]) -> dict[str, Any]:
    """The event's JSON schema without words for people."""
    return _without_words(cls.model_json_schema(mode="serialization"))


def _without_words(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {
            k: _without_words(v) for k, v in schema.items() if k not in ("title", "description")
        }
    return [_without_words(item) for item in schema] if isinstance(schema, list) else schema
