"""Speaks TLS in front of the mock. What it decrypts goes to the mock as it is. Prints its port."""

import asyncio
import ssl
import sys
from pathlib import Path
from urllib.parse import urlsplit

CERTIFICATES = Path(__file__).parent.parent / "tests" / "tls"
MOCK = urlsplit(sys.argv[1])


async def copy(reader, writer):
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except OSError:
        # A connection that breaks ends the copy as well as its end does.
        pass
    finally:
        writer.close()


async def connection(reader, writer):
    mock_reader, mock_writer = await asyncio.open_connection(MOCK.hostname, MOCK.port)
    await asyncio.gather(copy(reader, mock_writer), copy(mock_reader, writer))


async def main():
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATES / "server.pem", CERTIFICATES / "server.key")
    server = await asyncio.start_server(connection, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
