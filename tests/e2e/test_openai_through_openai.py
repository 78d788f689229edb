"""OpenAI's SDK asks a Darkroom, which asks an OpenAI through the same SDK."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from openai.types import ImagesResponse
from PIL import Image

from infrastructure.settings import load_settings
from tests.e2e.openai_python import client_of, picture, url_of
from tests.e2e.stack import encoded, running, settings_for
from tests.servers import openai as server_of_openai
from tests.servers.protocol import ProtocolServer, serving


@pytest.fixture
def vendor() -> ProtocolServer:
    return server_of_openai.server()


@pytest.fixture
async def client(
    tmp_path: Path, database_url: str, redis_url: str, vendor: ProtocolServer
) -> AsyncIterator[AsyncOpenAI]:
    async with serving(vendor) as url:
        settings = load_settings(
            {
                **settings_for(tmp_path, database_url, redis_url).environ(),
                "DARKROOM_PROVIDERS": "openai",
                "OPENAI_API_KEY": server_of_openai.KEY,
                "OPENAI_BASE_URL": f"{url}/v1",
            }
        )
        async with (
            running(settings) as stack,
            stack.at_work(),
            client_of(url_of(stack)) as made,
        ):
            yield made
            for provider in stack.container.configured_providers().values():
                await provider.close()


async def test_tokens_are_told_as_they_were_billed(
    client: AsyncOpenAI, vendor: ProtocolServer
) -> None:
    made = await client.images.generate(
        prompt="a fox", size="1024x1024", quality="low", output_format="webp"
    )

    assert made.data is not None
    assert picture(made.data[0].b64_json).format == "WEBP"
    assert made.usage is not None
    assert made.usage.input_tokens > 0
    assert made.usage.input_tokens_details.text_tokens == made.usage.input_tokens
    assert made.usage.output_tokens > 0
    assert made.usage.total_tokens == made.usage.input_tokens + made.usage.output_tokens
    assert vendor.switches.billed == 1


async def test_an_edit_reaches_the_vendor_with_its_pictures(
    client: AsyncOpenAI, vendor: ProtocolServer
) -> None:
    images: Any = [encoded("PNG", (32, 32)), encoded("JPEG", (48, 32))]
    made = await client.images.edit(image=images, prompt="as a woodcut", model="gpt-image-2", n=2)

    assert made.data is not None
    assert len(made.data) == 2
    assert made.usage is not None
    assert made.usage.input_tokens_details.image_tokens > 0
    assert [seen.path for seen in vendor.switches.seen] == ["/v1/images/edits"]


def clear(size: tuple[int, int]) -> bytes:
    """A PNG through which everything shows."""
    stream = io.BytesIO()
    Image.new("RGBA", size).save(stream, "PNG")
    return stream.getvalue()


async def test_a_mask_reaches_the_vendor(client: AsyncOpenAI, vendor: ProtocolServer) -> None:
    image = encoded("PNG", (32, 32))
    await client.images.edit(image=image, mask=clear((32, 32)), prompt="a hat", model="gpt-image-2")
    with pytest.raises(openai.BadRequestError) as refused:
        await client.images.edit(image=image, mask=image, prompt="a hat", model="gpt-image-2")

    assert [seen.facts["files"] for seen in vendor.switches.seen] == [["image", "mask"]]
    assert (refused.value.param, refused.value.code) == ("mask", "invalid_image_file")


async def test_a_picture_made_before_is_edited_by_its_name(
    client: AsyncOpenAI, vendor: ProtocolServer
) -> None:
    made = await client.images.with_raw_response.generate(prompt="a fox")
    named = {"file_id": made.headers["x-darkroom-generation"]}
    wish = {"prompt": "as a woodcut", "model": "gpt-image-2", "images": [named]}
    edited = await client.post("/images/edits", body=wish, cast_to=ImagesResponse)

    assert edited.data is not None
    assert [seen.path.rpartition("/")[2] for seen in vendor.switches.seen] == [
        "generations",
        "edits",
    ]


async def test_its_models_can_be_asked_for(client: AsyncOpenAI) -> None:
    listed = {model.id: model.owned_by async for model in client.models.list()}

    assert listed["gpt-image-2"] == "openai"
    assert not listed.keys() & {"dall-e-3", "gpt-image-1"}


async def test_a_refusal_is_the_vendors_in_our_words(
    client: AsyncOpenAI, vendor: ProtocolServer
) -> None:
    vendor.switches.tell(next=["moderation_input"])
    with pytest.raises(openai.BadRequestError) as refused:
        await client.images.generate(prompt="a fox")

    assert refused.value.code == "moderation_blocked"
    assert "safety_violations" not in str(refused.value)
