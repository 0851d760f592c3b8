"""A gRPC server for the tests: methods of raw bytes, so that no code has to be generated.

usage: grpc_server.py CERTIFICATE_FOLDER

Prints its ports ("plain N", "tls N") and "ready". The status of what is cancelled can be asked for.
"""

import sys
import threading
from concurrent import futures

import grpc

cancelled = threading.Event()


def unary(request, context):
    context.send_initial_metadata((("x-initial", "first"),))
    context.set_trailing_metadata((("x-trailing", "last"), ("x-binary-bin", b"\x00\x01\xff")))
    return request


def fail(request, context):
    context.abort(grpc.StatusCode.NOT_FOUND, "not here: %s" % request.decode())


def metadata(request, context):
    return "\n".join("%s: %s" % (key, value) for key, value in context.invocation_metadata()).encode()


def collect(requests, context):
    return b"".join(requests)


def count(request, context):
    for number in range(int(request)):
        yield b"%d" % number


def large(request, context):
    pattern = bytes(range(251))
    for _ in range(int(request)):
        yield (pattern * 4200)[: 1 << 20]


def echo(requests, context):
    for request in requests:
        yield request


def wait(request, context):
    """Answers with a head alone until the call is over, and notes that it was given up."""
    context.send_initial_metadata(())
    over = threading.Event()
    # A call that is over already takes no callback.
    if context.add_callback(over.set):
        over.wait(60)
    cancelled.set()
    return b""


def was_cancelled(request, context):
    result = b"yes" if cancelled.wait(10) else b"no"
    cancelled.clear()
    return result


def remaining(request, context):
    left = context.time_remaining()
    return b"none" if left is None else b"%d" % (left * 1000)


UNARY = {
    "Unary": unary,
    "Fail": fail,
    "Metadata": metadata,
    "Wait": wait,
    "WasCancelled": was_cancelled,
    "Remaining": remaining,
}
METHODS = {
    **{name: grpc.unary_unary_rpc_method_handler(method) for name, method in UNARY.items()},
    "Collect": grpc.stream_unary_rpc_method_handler(collect),
    "Count": grpc.unary_stream_rpc_method_handler(count),
    "Large": grpc.unary_stream_rpc_method_handler(large),
    "Echo": grpc.stream_stream_rpc_method_handler(echo),
}


def main():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=32))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("hansom.Test", METHODS),))
    folder = sys.argv[1]
    with open(folder + "/server-key.pem", "rb") as key, open(folder + "/server.pem", "rb") as chain:
        credentials = grpc.ssl_server_credentials(((key.read(), chain.read()),))
    print("plain %d" % server.add_insecure_port("127.0.0.1:0"))
    print("tls %d" % server.add_secure_port("127.0.0.1:0", credentials))
    server.start()
    print("ready", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
