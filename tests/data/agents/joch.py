"""A joch control plane as far as a cancel goes: it wants a token, and cancels on the second look.

joch.py TOKEN

It prints `listening PORT` and one line for each request.
"""

import http.server
import json
import sys

cancelled = {}


class Joch(http.server.BaseHTTPRequestHandler):
    def answer(self, status, body):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def allowed(self):
        if self.headers["authorization"] == f"Bearer {sys.argv[1]}":
            return True
        self.answer(401, {"error": {"code": "unauthorized", "message": "no", "details": {}}})
        return False

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.allowed():
            cancelled[self.path.removesuffix("/cancel")] = "Cancelled"
            print("cancel", self.path, json.dumps(body), flush=True)
            self.answer(202, {"status": {"phase": "Running"}})

    def do_GET(self):
        if self.allowed():
            self.answer(200, {"status": {"phase": cancelled.get(self.path, "Running")}})

    def log_message(self, *_):
        pass


server = http.server.HTTPServer(("127.0.0.1", 0), Joch)
print("listening", server.server_address[1], flush=True)
server.serve_forever()
