"""A server that answers every request with the same bytes, over TLS if it is to.

What it answers may break the rules of HTTP and of TLS, which is why no framework is under it.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

BAD_RECORD = b"\x17\x03\x03\x00\x20" + bytes(32)  # of TLS: data that no key fits


@dataclass
class Raw:
    """What it says, and the heads of what it was asked."""

    answer: bytes
    breaks_tls: bool = False
    asked: list[bytes] = field(default_factory=list)
    _responding: list[asyncio.Task[None]] = field(default_factory=list)

    @asynccontextmanager
    async def listen(self, context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
        """Yields host and port; ends when whoever asked has closed."""
        async with await asyncio.start_server(self._met, "127.0.0.1", ssl=context) as listening:
            try:
                yield f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"
            finally:
                await asyncio.gather(*self._responding)

    def _met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._responding.append(asyncio.create_task(self._respond(reader, writer)))

    async def _respond(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """To one request of one connection."""
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head)
        await _read_body(head.lower(), reader)
        writer.write(self.answer)
        await writer.drain()
        if self.breaks_tls:
            os.write(writer.get_extra_info("socket").fileno(), BAD_RECORD)
        await _until_closed(reader)
        writer.transport.abort()


def said(status: int, body: bytes = b"", **headers: str) -> bytes:
    """An answer as HTTP has it; headers are named with `_` for `-`."""
    lines = [f"HTTP/1.1 {status} So", f"content-length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[tuple[str, Raw]]:
    """Its address, and what it notes."""
    raw = Raw(answer)
    async with raw.listen() as place:
        yield f"http://{place}", raw


@asynccontextmanager
async def breaking_tls(answer: bytes, folder: Path) -> AsyncIterator[str]:
    """The address of one that goes on in TLS that cannot be read; `authority_in` is its own."""
    raw = Raw(answer, breaks_tls=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority_in(folder), folder / "key.pem")
    async with raw.listen(context) as place:
        yield f"https://{place}"


def authority_in(folder: Path) -> Path:
    """A certificate for 127.0.0.1 that stands for itself; its key lies beside it."""
    path = folder / "certificate.pem"
    if path.exists():
        return path
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now, alternative = datetime.now(UTC), x509.IPAddress(IPv4Address("127.0.0.1"))
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return path


async def _read_body(head: bytes, reader: asyncio.StreamReader) -> None:
    if b"transfer-encoding: chunked" in head:
        await reader.readuntil(b"\r\n0\r\n\r\n")
        return
    lines = [line for line in head.split(b"\r\n") if line.startswith(b"content-length:")]
    await reader.readexactly(int(lines[0].partition(b":")[2]) if lines else 0)


async def _until_closed(reader: asyncio.StreamReader) -> None:
    """Whoever asked ends the connection, as it likes."""
    try:
        await reader.read()
    except (ConnectionError, ssl.SSLError):
        return
