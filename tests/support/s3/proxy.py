#!/usr/bin/env python3
"""proxy.py PORT FAULTS: a network that fails between a mirror and the S3 server on PORT of 127.0.0.1. Listens on a free
port, which it prints.

FAULTS is read anew for each request: lines "KIND COUNT REGEX", as server.py here has them: of the requests whose "METHOD
path?query" matches, the first COUNT suffer: 503, cut (the server has done it, and its answer is lost), cut-body (closed
in the midst of the answer), damage-download (a byte changes on its way out). What was met is printed, a line each.
"""
import http.client
import http.server
import re
import sys
import threading

PORT, FAULTS = int(sys.argv[1]), sys.argv[2]
lock = threading.Lock()
met = {}


def fault_of(request):
    with lock, open(FAULTS, encoding="utf-8") as file:
        for line in file.read().splitlines():
            kind, count, match = line.split(" ", 2)
            if re.search(match, request) and met.get(line, 0) < int(count):
                met[line] = met.get(line, 0) + 1
                print(f"{kind} {request}", flush=True)
                return kind
    return None


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def forward(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        kind = fault_of(f"{self.command} {self.path}")
        if kind == "503":
            return self.answer(503, [], b"<Error><Code>SlowDown</Code><Message>not now</Message></Error>")
        server = http.client.HTTPConnection("127.0.0.1", PORT)
        server.request(self.command, self.path, body, dict(self.headers))
        answer = server.getresponse()
        data = answer.read()
        server.close()
        if kind == "cut":
            self.close_connection = True
            return None
        if kind == "damage-download" and data:
            data = data[:-1] + bytes([data[-1] ^ 1])
        return self.answer(answer.status, answer.getheaders(), data, kind == "cut-body")

    def answer(self, status, headers, data, cut=False):
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if cut else data)
        self.close_connection = cut

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = forward


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
