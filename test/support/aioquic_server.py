"""An HTTP/3 server for the tests, on aioquic.

usage: aioquic_server.py CERTIFICATE_FOLDER

Prints its port ("http3 N") and "ready". It has the endpoints of the bundled origin that interoperability is tested
with, and some for what only a scripted peer does. These send the body of the request, byte for byte:

/raw            on the stream of the request, in place of a response
/control        on the control stream, and answers nothing
/unidirectional on a new unidirectional stream, and answers nothing
"""

import asyncio
import sys
import zlib
from urllib.parse import parse_qs, urlsplit

from aioquic.asyncio import QuicConnectionProtocol, serve
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ProtocolNegotiated, StreamReset

PERIOD = bytes(range(251))


def pattern(size):
    return (PERIOD * (size // 251 + 1))[:size]


class Request:
    """One request: its head, and of its content what its endpoint needs."""

    def __init__(self, headers):
        fields = dict(headers)
        self.headers = headers
        self.method = fields[b":method"].decode()
        target = urlsplit(fields[b":path"].decode())
        self.path = target.path
        self.query = {key: values[0] for key, values in parse_qs(target.query).items()}
        self.steps = target.path.split("/")[1:]
        self.body = []
        self.size = 0
        self.crc = 0
        self.trailers = []


class Connection(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = None
        self.requests = {}

    def quic_event_received(self, event):
        if isinstance(event, ProtocolNegotiated):
            self.http = H3Connection(self._quic)
        if isinstance(event, StreamReset):
            self.requests.pop(event.stream_id, None)
        if self.http is None:
            return
        for http_event in self.http.handle_event(event):
            if isinstance(http_event, HeadersReceived):
                self.head(http_event)
            elif isinstance(http_event, DataReceived):
                self.data(http_event)

    def head(self, event):
        request = self.requests.get(event.stream_id)
        if request is None:
            request = self.requests[event.stream_id] = Request(event.headers)
            if request.steps[0] == "echo":
                self.begin(event.stream_id, 200)
        else:
            request.trailers = event.headers
        if event.stream_ended:
            self.answer(event.stream_id)

    def data(self, event):
        request = self.requests.get(event.stream_id)
        if request is None:
            return
        request.size += len(event.data)
        request.crc = zlib.crc32(event.data, request.crc)
        if request.steps[0] == "echo":
            self.http.send_data(event.stream_id, event.data, False)
        elif request.steps[0] in ("raw", "control", "unidirectional"):
            request.body.append(event.data)
        if event.stream_ended:
            self.answer(event.stream_id)

    def begin(self, stream, status, fields=(), end=False):
        self.http.send_headers(stream, [(b":status", b"%d" % status), *fields], end)

    def whole(self, stream, body, status=200, fields=()):
        request = self.requests.pop(stream)
        length = (b"content-length", b"%d" % len(body))
        self.begin(stream, status, [length, *fields], request.method == "HEAD")
        if request.method != "HEAD":
            self.http.send_data(stream, body, True)

    def answer(self, stream):
        request = self.requests[stream]
        endpoint, *arguments = request.steps
        getattr(self, "answer_" + endpoint.replace("-", "_"), self.answer_nowhere)(stream, request, *arguments)
        self.transmit()

    def answer_nowhere(self, stream, request, *_):
        self.whole(stream, b"", 404)

    def answer_hello(self, stream, request):
        self.whole(stream, b"Hello, world!\n")

    def answer_bytes(self, stream, request, size):
        self.whole(stream, pattern(int(size)))

    def answer_status(self, stream, request, code):
        if code in ("204", "304"):
            self.requests.pop(stream)
            self.begin(stream, int(code), (), True)
        else:
            self.whole(stream, b"status %s\n" % code.encode(), int(code))

    def answer_upload(self, stream, request):
        report = "bytes: %d\ncrc32: %08x\n" % (request.size, request.crc)
        report += "".join("trailer %s: %s\n" % (name.decode(), value.decode()) for name, value in request.trailers)
        self.whole(stream, report.encode())

    def answer_echo(self, stream, request):
        self.requests.pop(stream)
        self.http.send_data(stream, b"", True)

    def answer_headers(self, stream, request):
        self.whole(stream, b"".join(b"%s: %s\n" % field for field in request.headers))

    def answer_headers_size(self, stream, request, size):
        count = int(size) // 100
        self.whole(stream, b"", fields=[(b"x-filler-%04d" % number, b"v" * 87) for number in range(count)])

    def answer_trailers(self, stream, request):
        self.requests.pop(stream)
        self.begin(stream, 200)
        self.http.send_data(stream, b"with trailers\n", False)
        self.http.send_headers(stream, [(b"x-after", b"it")], True)

    def answer_interim(self, stream, request, code):
        self.http.send_headers(stream, [(b":status", code.encode()), (b"link", b"</style.css>")])
        self.whole(stream, b"final\n")

    def answer_delay(self, stream, request, milliseconds):
        def later():
            if stream in self.requests:
                self.whole(stream, b"late\n")
                self.transmit()

        asyncio.get_running_loop().call_later(int(milliseconds) / 1000, later)

    def answer_stall(self, stream, request, what=None):
        if what == "head":
            self.begin(stream, 200)

    def answer_reset(self, stream, request, where=None):
        self.requests.pop(stream)
        if where is None:
            self.begin(stream, 200)
            self.http.send_data(stream, b"part", False)
        self._quic.reset_stream(stream, int(request.query.get("code", "258")))

    def answer_close(self, stream, request):
        self._quic.close(error_code=int(request.query.get("code", "256")), reason_phrase="asked for")

    def answer_raw(self, stream, request):
        self.requests.pop(stream)
        self._quic.send_stream_data(stream, b"".join(request.body), "open" not in request.query)

    def answer_control(self, stream, request):
        self._quic.send_stream_data(self.http._local_control_stream_id, b"".join(request.body), "end" in request.query)

    def answer_unidirectional(self, stream, request):
        unidirectional = self._quic.get_next_available_stream_id(is_unidirectional=True)
        self._quic.send_stream_data(unidirectional, b"".join(request.body), False)


async def main():
    folder = sys.argv[1]
    configuration = QuicConfiguration(alpn_protocols=["h3"], is_client=False, max_data=1 << 24, max_stream_data=1 << 22)
    configuration.load_cert_chain(folder + "/server.pem", folder + "/server-key.pem")
    server = await serve("127.0.0.1", 0, configuration=configuration, create_protocol=Connection)
    print("http3 %d" % server._transport.get_extra_info("sockname")[1])
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
