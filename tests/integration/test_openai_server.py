"""The server that tests take for OpenAI: as strict as the real one, in its shapes, to its SDK."""

import base64
import io
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI
from PIL import Image

from infrastructure.providers.openai import CAPABILITIES
from tests.contracts.asking import mask, reference
from tests.servers.openai import KEY, server
from tests.servers.openai_models import MODELS
from tests.servers.protocol import ProtocolServer, serving

GENERATION = {"prompt": "a lighthouse", "model": "gpt-image-2"}


@pytest.fixture
def there() -> ProtocolServer:
    return server()


@pytest.fixture
async def http(there: ProtocolServer) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": f"Bearer {KEY}"}
    async with (
        serving(there) as address,
        httpx.AsyncClient(base_url=f"{address}/v1", headers=headers) as client,
    ):
        yield client


@pytest.fixture
async def sdk(http: httpx.AsyncClient) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(api_key=KEY, base_url=str(http.base_url), max_retries=0) as client:
        yield client


async def generate(http: httpx.AsyncClient, **fields: Any) -> httpx.Response:
    return await http.post("/images/generations", json={**GENERATION, **fields})


async def edit(http: httpx.AsyncClient, files: list[tuple[str, bytes]], **fields: Any) -> Any:
    parts = [(name, (f"{name}.png", data, "image/png")) for name, data in files]
    return await http.post("/images/edits", data={**GENERATION, **fields}, files=parts)


def told(answer: httpx.Response) -> tuple[int, str | None, str | None]:
    error = answer.json()["error"]
    assert set(error) >= {"message", "type", "param", "code"}
    return answer.status_code, error["code"], error["param"]


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"styel": "x"}, "unknown_parameter", "styel"),
        ({"style": "vivid"}, "unknown_parameter", "style"),
        ({"response_format": "url"}, "unknown_parameter", "response_format"),
        ({"seed": 7}, "unknown_parameter", "seed"),
        ({"negative_prompt": "x"}, "unknown_parameter", "negative_prompt"),
        ({"input_fidelity": "low"}, "unknown_parameter", "input_fidelity"),
        ({"prompt": ""}, "missing_required_parameter", "prompt"),
        ({"prompt": "x" * 32_001}, "string_above_max_length", "prompt"),
        ({"prompt": ["x"]}, "invalid_type", "prompt"),
        ({"model": None}, "missing_required_parameter", "model"),
        ({"model": "dall-e-3"}, "invalid_value", "model"),
        ({"model": "gpt-image-1"}, "invalid_value", "model"),
        ({"model": "flux"}, "invalid_value", "model"),
        ({"n": "2"}, "invalid_type", "n"),
        ({"n": True}, "invalid_type", "n"),
        ({"n": 0}, "integer_below_min_value", "n"),
        ({"n": 11}, "integer_above_max_value", "n"),
        ({"size": "1000x1000"}, "invalid_value", "size"),
        ({"size": "512x512"}, "invalid_value", "size"),
        ({"size": "3840x960"}, "invalid_value", "size"),
        ({"size": "1536x864", "model": "gpt-image-1.5"}, "invalid_value", "size"),
        ({"quality": "hd"}, "invalid_value", "quality"),
        ({"quality": "max"}, "invalid_value", "quality"),
        ({"complexity": "low"}, "invalid_value", "complexity"),
        ({"background": "transparent", "output_format": "jpeg"}, None, "background"),
        ({"output_compression": 50}, "invalid_png_output_compression", "output_compression"),
        ({"partial_images": 2}, None, "partial_images"),
        ({"partial_images": 4, "stream": True}, "integer_above_max_value", "partial_images"),
        ({"stream": "true"}, "invalid_type", "stream"),
    ],
)
async def test_what_the_real_one_refuses_is_refused(
    http: httpx.AsyncClient, fields: dict[str, Any], code: str | None, param: str
) -> None:
    assert told(await generate(http, **fields)) == (400, code, param)


async def test_who_has_no_key_or_another_is_told_so(http: httpx.AsyncClient) -> None:
    answers = [
        await http.get("/models", headers={"authorization": header})
        for header in ("", "Basic abc", "Bearer sk-other")
    ]
    assert [told(answer)[:2] for answer in answers] == [
        (401, None),
        (401, None),
        (401, "invalid_api_key"),
    ]


async def test_a_body_that_is_no_json_object_is_refused(http: httpx.AsyncClient) -> None:
    json = {"content-type": "application/json"}
    for body in (b"", b"{", b"[]"):
        answer = await http.post("/images/generations", content=body, headers=json)
        assert told(answer) == (400, None, None)
    assert (await http.post("/images/generations", data=GENERATION)).status_code == 400


async def test_every_answer_has_an_id_and_says_what_remains(http: httpx.AsyncClient) -> None:
    for answer in (await generate(http), await generate(http, n=99), await http.get("/models")):
        assert answer.headers["x-request-id"].startswith("req_")
        assert answer.headers["x-ratelimit-remaining-requests"] == "499"


async def test_only_pictures_that_were_made_are_billed(
    http: httpx.AsyncClient, there: ProtocolServer
) -> None:
    there.switches.tell(next=["", "moderation_output", "bad_gateway", "empty_data"])
    for _ in range(4):
        await generate(http)
    await generate(http, n=0)
    assert [seen.billed for seen in there.switches.seen] == [True, False, False, True, False]


async def test_pictures_have_the_shape_and_the_format_that_were_asked_for(
    http: httpx.AsyncClient,
) -> None:
    for size, format in (("1536x1024", "png"), ("1024x1536", "webp"), ("1920x1088", "jpeg")):  # noqa: A001  # OpenAI's word
        made = (await generate(http, size=size, output_format=format)).json()
        image = Image.open(io.BytesIO(base64.b64decode(made["data"][0]["b64_json"])))
        width, height = map(int, size.split("x"))
        assert image.width * height == image.height * width
        assert image.format == format.upper()
        assert (made["size"], made["output_format"]) == (size, format)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        (["image", "image"], "duplicate_parameter"),
        (["image", "image[]"], "duplicate_parameter"),
        (["images"], "unknown_parameter"),
        (["mask"], "missing_required_parameter"),
        (["image[]"] * 17, "array_above_max_length"),
    ],
)
async def test_references_in_wrong_fields_are_refused(
    http: httpx.AsyncClient, fields: list[str], code: str
) -> None:
    answer = await edit(http, [(field, reference().data) for field in fields])
    assert told(answer)[:2] == (400, code)


async def test_a_mask_has_to_fit_the_first_image(http: httpx.AsyncClient) -> None:
    image = ("image", reference().data)
    assert (await edit(http, [image, ("mask", mask().data)])).status_code == 200
    assert told(await edit(http, [image, ("mask", mask((32, 32)).data)]))[1:] == (
        "invalid_mask",
        "mask",
    )
    assert told(await edit(http, [image, ("mask", reference().data)]))[2] == "mask"
    assert told(await edit(http, [("image", b"GIF89a")]))[1] == "invalid_image_file"


async def test_edits_are_asked_for_in_json_too(
    http: httpx.AsyncClient, there: ProtocolServer
) -> None:
    url = "data:image/png;base64," + base64.b64encode(reference().data).decode()
    body = {**GENERATION, "images": [{"image_url": url}, {"image_url": url}]}
    assert (await http.post("/images/edits", json=body)).status_code == 200
    assert there.switches.seen[-1].facts["files"] == ["image[]", "image[]"]
    wrong = {**GENERATION, "images": [{"url": url}]}
    assert told(await http.post("/images/edits", json=wrong))[1] == "unknown_parameter"


async def test_the_sdk_lists_models_and_knows_one_that_is_not_there(sdk: AsyncOpenAI) -> None:
    names = {model.id async for model in sdk.models.list()}
    assert names == set(MODELS)
    assert {model.name for model in CAPABILITIES.models} <= names
    with pytest.raises(openai.NotFoundError):
        await sdk.models.retrieve("dall-e-3")


async def events_of(sdk: AsyncOpenAI, **fields: Any) -> list[Any]:
    stream = await sdk.images.generate(
        prompt="a lighthouse", model="gpt-image-2", stream=True, **fields
    )
    return [event async for event in stream]


async def test_a_stream_shows_partial_pictures_and_ends_with_the_whole(sdk: AsyncOpenAI) -> None:
    events = await events_of(sdk, partial_images=2)
    assert [event.type.removeprefix("image_generation.") for event in events] == [
        "partial_image",
        "partial_image",
        "completed",
    ]
    assert [event.partial_image_index for event in events[:2]] == [0, 1]
    assert events[-1].usage.output_tokens > 0


@pytest.mark.parametrize(("each", "completed"), [(True, 3), (False, 1)])
async def test_a_stream_of_several_pictures_completes_each_or_one(
    sdk: AsyncOpenAI, there: ProtocolServer, each: bool, completed: int
) -> None:
    there.switches.tell(options={"completed_per_image": each, "done": False})
    events = await events_of(sdk, n=3)
    assert len({event.b64_json for event in events}) == len(events) == completed


async def test_a_stream_of_an_edit_has_events_of_its_own_name(sdk: AsyncOpenAI) -> None:
    stream = await sdk.images.edit(
        image=("a.png", reference().data, "image/png"),
        prompt="a lighthouse",
        model="gpt-image-2",
        stream=True,
        partial_images=1,
    )
    types = [event.type async for event in stream]
    assert types == ["image_edit.partial_image", "image_edit.completed"]


async def test_an_error_within_a_stream_is_one_of_the_sdk(
    sdk: AsyncOpenAI, there: ProtocolServer
) -> None:
    there.switches.tell(next=["stream_error"])
    with pytest.raises(openai.APIError) as failed:
        await events_of(sdk, partial_images=1)
    assert failed.value.code == "moderation_blocked"
