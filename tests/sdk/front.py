"""TLS before a gateway, as a load balancer ends it: some packages open their sockets with nothing else."""

import asyncio
import ssl
import subprocess
import threading
from pathlib import Path
from urllib.parse import urlsplit

SIZE = 1 << 16


def certificate(folder: Path) -> Path:
    """Makes a certificate of this machine, which is its own authority, with its key in the same file."""
    file = folder / "front.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=front"
    names = ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command.split(), *names, "-keyout", file, "-out", file.with_suffix(".crt")], check=True, capture_output=True)
    file.write_text(file.read_text() + file.with_suffix(".crt").read_text())
    return file


class Front:
    """Passes bytes on to `gateway` until it is closed."""

    def __init__(self, gateway: str, certificate: Path):
        self._to = urlsplit(gateway)
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(certificate)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._tasks: set[asyncio.Task] = set()
        self._server = self._run(asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context))
        self.url = f"https://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def close(self):
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _end(self):
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, from_client, to_client):
        task = asyncio.current_task()
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        from_gateway, to_gateway = await asyncio.open_connection(self._to.hostname, self._to.port)
        try:
            await asyncio.gather(_pass(from_client, to_gateway), _pass(from_gateway, to_client))
        finally:
            to_gateway.close()
            to_client.close()


async def _pass(reader, writer):
    try:
        while piece := await reader.read(SIZE):
            writer.write(piece)
            await writer.drain()
    except OSError:
        pass
    finally:
        # What came last is written before the connection ends.
        writer.close()
