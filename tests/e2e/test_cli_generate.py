"""`darkroom generate` and `retry`: from a prompt to files, whatever happens on the way."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from infrastructure.client_settings import ClientSettings
from interfaces.cli.client import Client
from interfaces.cli.endings import CommandError
from interfaces.cli.follow import Stream, accepted
from tests.e2e.stack import Stack, encoded, free_port, running, settings_for
from tests.e2e.typed import PATIENCE, darkroom, service, typing
from tests.proxy import Proxy

SMALL = ("--size", "64x64")

beside_the_shared = pytest.mark.asyncio(loop_scope="module")


# --- it goes well --------------------------------------------------------------------------------


async def test_a_prompt_becomes_a_file_with_the_recorded_bytes(
    stack: Stack, tmp_path: Path
) -> None:
    async with stack.at_work():
        typed = await darkroom(
            "generate", "a lighthouse", *SMALL, folder=tmp_path, **service(stack)
        )
    assert typed.status == 0, typed.err
    id_ = typed.err.split()[-1]
    (image,) = (await stack.client.get(f"/api/v1/generations/{id_}")).json()["images"]
    assert typed.lines == [f"{id_}-1.png"]
    assert hashlib.sha256((tmp_path / typed.lines[0]).read_bytes()).hexdigest() == image["sha256"]
    told = ["Accepted.", "Call 1: sketch makes 1 picture.", "Completed with 1 picture."]
    assert [line for line in typed.err.splitlines() if line in told] == told
    assert image["url"] in typed.err


async def test_everything_that_was_asked_for_arrives(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "dusk.png").write_bytes(encoded("PNG"))
    (tmp_path / "dawn.jpg").write_bytes(encoded("JPEG"))
    async with stack.at_work():
        typed = await darkroom(
            "generate",
            "-",
            "--size",
            "64x48",
            "-n",
            "2",
            "--seed",
            "7",
            "--negative",
            "people",
            "--provider",
            "sketch",
            "--deadline",
            "60",
            "--on-unknown",
            "fail",
            "-r",
            "dusk.png",
            "-r",
            "dawn.jpg",
            "--meta",
            "order=4711",
            "--end-user",
            "customer 17",
            "-o",
            "spring/fox.webp",
            "--json",
            folder=tmp_path,
            stdin="a fox, «smiling»\n".encode(),
            **service(stack),
        )
    assert (typed.status, typed.err) == (0, "")
    asked = ("prompt", "size", "count", "seed", "negativePrompt", "format", "metadata", "endUser")
    assert {name: typed.json[name] for name in asked} == {
        "prompt": "a fox, «smiling»",
        "size": "64x48",
        "count": 2,
        "seed": 7,
        "negativePrompt": "people",
        "format": "webp",
        "metadata": {"order": "4711"},
        "endUser": "customer 17",
    }
    assert len(typed.json["referenceImages"]) == 2
    paths = [image["path"] for image in typed.json["images"]]
    assert paths == ["spring/fox-1.webp", "spring/fox-2.webp"]
    for path in paths:
        with Image.open(io.BytesIO((tmp_path / path).read_bytes())) as image:
            assert (image.format, image.size) == ("WEBP", (64, 48))


async def test_a_picture_made_before_is_a_reference_by_its_id(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "dog.png").write_bytes(encoded("PNG"))
    service_and_folder: dict[str, Any] = {"folder": tmp_path, **service(stack)}
    async with stack.at_work():
        first = await darkroom("generate", "a fox", *SMALL, "--json", **service_and_folder)
        id_ = first.json["id"]
        ways = (("-r", id_), ("-r", "dog.png", "-r", f"{id_}/1"))
        made = [
            await darkroom("generate", "in spring", *SMALL, *way, "--json", **service_and_folder)
            for way in ways
        ]
    lineage = [[one["generation"] for one in typed.json["referenceImages"]] for typed in made]
    assert lineage == [[id_], [None, id_]]
    shown = await darkroom("show", made[1].json["id"], **service_and_folder)
    assert f"64x64 png of {id_}/1" in shown.out


@beside_the_shared
async def test_a_mask_goes_along_as_a_file(shared: Stack, tmp_path: Path) -> None:
    (tmp_path / "mask.png").write_bytes(encoded("PNG"))
    masked = ("generate", "a fox", "--mask", "mask.png")
    told = {"folder": tmp_path, **service(shared)}
    (await darkroom(*masked, "-r", "mask.png", **told)).refused(2, "takes no mask")
    (await darkroom(*masked[:3], "none.png", **told)).refused(2, "look at --mask")


async def test_without_waiting_the_id_is_all_there_is(stack: Stack, tmp_path: Path) -> None:
    typed = await darkroom(
        "generate", "a fox", *SMALL, "--no-wait", folder=tmp_path, **service(stack)
    )
    (id_,) = typed.lines
    assert typed.status == 0
    assert f"darkroom show {id_} --follow --out ." in typed.err
    assert (await stack.client.get(f"/api/v1/generations/{id_}")).json()["status"] == "queued"

    async with stack.at_work():
        typed = await darkroom(
            "show", id_, "--follow", "--out", "fox.png", folder=tmp_path, **service(stack)
        )
    assert typed.status == 0, typed.err
    assert typed.lines[-1] == "saved fox.png"
    assert (tmp_path / "fox.png").exists()


async def test_where_nothing_is_saved_the_urls_are_the_result(stack: Stack, tmp_path: Path) -> None:
    async with stack.at_work():
        typed = await darkroom(
            "generate", "a fox", *SMALL, "--no-save", folder=tmp_path, **service(stack)
        )
    assert typed.lines[0].startswith(f"{stack.settings.public_url}/images/")
    assert "-1.png" not in "".join(os.listdir(tmp_path))


# --- what is wrong before anything is asked ------------------------------------------------------


@beside_the_shared
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("-o", "there.png"), "there.png is there already"),
        (("-o", "there.gif"), "neither a folder nor a picture's name"),
        (("-o", "there.png/in/it/"), "Nothing can be written to there.png/in/it"),
        (("-o", "new.png", "--format", "webp"), "--out ends in .png, and --format is webp"),
        (("-r", "nowhere.png"), "The reference image nowhere.png cannot be read (No such file"),
        (("-r", "."), "The reference image . cannot be read (Is a directory)"),
        (("--meta", "order"), "--meta must be key=value, not 'order'"),
    ],
)
async def test_a_mistake_is_found_before_anything_is_asked(
    shared: Stack, tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    (tmp_path / "there.png").write_bytes(b"mine")
    before = await shared.recorded()
    typed = await darkroom("generate", "a fox", *arguments, folder=tmp_path, **service(shared))
    typed.refused(2, sentence)
    assert typed.err.count("\n") == 1
    assert (tmp_path / "there.png").read_bytes() == b"mine"
    assert await shared.recorded() == before


@beside_the_shared
async def test_an_empty_standard_input_is_no_prompt(shared: Stack, tmp_path: Path) -> None:
    typed = await darkroom("generate", "-", folder=tmp_path, stdin=b" \n", **service(shared))
    typed.refused(2, "The prompt on standard input is empty.")


async def test_a_file_is_overwritten_only_when_told(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "fox.png").write_bytes(b"mine")
    async with stack.at_work():
        typed = await darkroom(
            "generate",
            "a fox",
            *SMALL,
            "-o",
            "fox.png",
            "--overwrite",
            folder=tmp_path,
            **service(stack),
        )
    assert typed.status == 0, typed.err
    assert (tmp_path / "fox.png").read_bytes().startswith(b"\x89PNG")


# --- the service says no -------------------------------------------------------------------------


@beside_the_shared
async def test_what_the_service_finds_wrong_names_the_field(shared: Stack, tmp_path: Path) -> None:
    (tmp_path / "no.png").write_bytes(b"no picture")
    for arguments, words in (
        (("--size", "1x1"), "size must have sides of"),
        (("-r", "no.png"), "referenceImages/0: "),
    ):
        typed = await darkroom("generate", "a fox", *arguments, folder=tmp_path, **service(shared))
        typed.refused(2, words)


@beside_the_shared
async def test_with_json_the_problem_is_on_standard_error(shared: Stack, tmp_path: Path) -> None:
    typed = await darkroom(
        "generate", "a fox", "--size", "1x1", "--json", folder=tmp_path, **service(shared)
    )
    assert (typed.status, typed.out) == (2, "")
    problem = json.loads(typed.err)
    assert (problem["code"], problem["status"]) == ("invalid-request", 422)
    assert problem["errors"][0]["pointer"] == "#/size"


@beside_the_shared
async def test_a_wrong_key_is_not_authenticated(shared: Stack, tmp_path: Path) -> None:
    wrong = service(shared) | {"DARKROOM_API_KEY": "a-key-of-somebody-else"}
    typed = await darkroom("generate", "a fox", folder=tmp_path, **wrong)
    typed.refused(3, "API key is not valid")
    assert "somebody-else" not in typed.err


async def test_a_quota_that_is_used_up_has_a_status_of_its_own(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    settings = settings_for(tmp_path, database_url, redis_url, daily_quota="1")
    async with running(settings) as stack:
        typed = await darkroom("generate", "a fox", "-n", "2", folder=tmp_path, **service(stack))
        typed.refused(5, "daily")


async def test_a_refused_prompt_fails_and_retry_asks_again(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    settings = settings_for(tmp_path, database_url, redis_url, sketch_faults="refuse=1")
    async with running(settings) as stack, stack.at_work():
        typed = await darkroom("generate", "a fox", *SMALL, folder=tmp_path, **service(stack))
        typed.refused(1, "The provider's safety rules", "--events` tells all")
        failed = _id_in(typed.err)
        again = await darkroom("retry", failed, "--json", folder=tmp_path, **service(stack))
    assert again.status == 1
    assert (again.json["status"], again.json["retryOf"]) == ("failed", failed)
    problem = json.loads(again.err)
    assert problem["code"].startswith("moderation_")
    assert problem["generationId"] == again.json["id"]


def _id_in(text: str) -> str:
    return text.split("`darkroom show ")[1].split()[0]


# --- the network ---------------------------------------------------------------------------------


async def test_nobody_there_is_unavailable_and_says_how_to_start(tmp_path: Path) -> None:
    nobody = {"DARKROOM_URL": f"http://127.0.0.1:{free_port()}", "DARKROOM_API_KEY": "a-key"}
    typed = await darkroom("generate", "a fox", folder=tmp_path, **nobody)
    typed.refused(6, "Connection refused", "trying again", "start it with `darkroom up`")
    as_json = await darkroom("history", "--json", folder=tmp_path, **nobody)
    assert json.loads(as_json.err)["code"] == "unavailable"


async def test_a_lost_answer_makes_no_second_generation(stack: Stack, tmp_path: Path) -> None:
    async with Proxy(stack.settings.public_url) as proxy, stack.at_work():
        proxy.cut_next_answer = True
        typed = await darkroom(
            "generate",
            "a fox",
            *SMALL,
            folder=tmp_path,
            **service(stack) | {"DARKROOM_URL": proxy.url},
        )
    assert typed.status == 0, typed.err
    assert proxy.cuts == 1
    assert "trying again" in typed.err
    requested = "SELECT count(*) FROM stored_events WHERE topic LIKE 'generation.requested%'"
    assert await stack.rows(requested) == [(1,)]


async def test_a_stream_that_is_cut_goes_on_where_it_was(stack: Stack, tmp_path: Path) -> None:
    through = service(stack)
    async with Proxy(stack.settings.public_url) as proxy:
        through["DARKROOM_URL"] = proxy.url
        async with typing("generate", "a fox", *SMALL, folder=tmp_path, **through) as command:
            await command.until("Queued")
            proxy.cut()
            await command.until("trying again")
            async with stack.at_work():
                typed = await command.end()
    assert typed.status == 0, typed.err
    told = typed.err.splitlines()
    assert told.count("Accepted.") == 1
    assert told.count("Completed with 1 picture.") == 1


async def test_pictures_that_cannot_be_fetched_can_be_fetched_later(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    settings = settings_for(tmp_path, database_url, redis_url, public_url=away)
    async with running(settings) as stack, stack.at_work():
        here = service(stack) | {"DARKROOM_URL": f"http://127.0.0.1:{settings.port}"}
        typed = await darkroom("generate", "a fox", *SMALL, folder=tmp_path, **here)
    typed.refused(6, f"The picture at {away}/images/", "(Connection refused)", "The service keeps")


def test_a_service_that_stays_away_is_given_up_and_the_generation_named() -> None:
    nobody = ClientSettings(f"http://127.0.0.1:{free_port()}", "a-key")
    said: list[str] = []
    client = Client(nobody, notice=said.append)
    with pytest.raises(CommandError) as caught, accepted("7"):
        list(Stream(client, "7", give_up_after=0.3).events())
    client.close()
    assert len(said) >= 2
    assert caught.value.status == 6
    assert caught.value.problem["generationId"] == "7"
    assert "Generation 7 was accepted: `darkroom show 7 --follow`" in str(caught.value)


async def test_ctrl_c_while_asking_leaves_it_open_whether_it_was_accepted(
    stack: Stack, tmp_path: Path
) -> None:
    through = service(stack)
    async with Proxy(stack.settings.public_url) as proxy:
        proxy.pause()
        through["DARKROOM_URL"] = proxy.url
        async with typing("generate", "a fox", folder=tmp_path, **through) as command:
            async with asyncio.timeout(PATIENCE):
                while not proxy.connections:
                    await asyncio.sleep(0.01)
            command.process.send_signal(signal.SIGINT)
            (await command.end()).refused(130, "`darkroom history` shows whether it was accepted")


async def test_ctrl_c_stops_the_waiting_and_not_the_generation(
    stack: Stack, tmp_path: Path
) -> None:
    async with typing("generate", "a fox", *SMALL, folder=tmp_path, **service(stack)) as command:
        await command.until("Queued")
        command.process.send_signal(signal.SIGINT)
        typed = await command.end()
    typed.refused(130, "the generation goes on", "--follow` follows it, `darkroom cancel ")
    shown = await stack.client.get(f"/api/v1/generations/{_id_in(typed.err)}")
    assert shown.json()["status"] == "queued"
