"""A webhook receiver that verifies with the `standardwebhooks` package and acts once for each message.

receiver.py PORT SECRET [state]

It prints `listening`, then `verified ID TYPE` for each request that verifies, `effective ID TYPE` for the first of each
id, and `refused` for the others. With `state` it answers {"state": STATE} to a kill.
"""

import http.server
import json
import sys

from standardwebhooks import Webhook

seen = set()


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            message = Webhook(sys.argv[2]).verify(body, {name.lower(): value for name, value in self.headers.items()})
        except Exception as error:  # noqa: BLE001
            print("refused", type(error).__name__, flush=True)
            self.send_response(400)
            self.end_headers()
            return
        id = self.headers["webhook-id"]
        print("verified", id, message["type"], flush=True)
        if id not in seen:
            seen.add(id)
            print("effective", id, message["type"], json.dumps(message["data"]), flush=True)
        state = sys.argv[3] if len(sys.argv) > 3 and message["type"] == "kill" else None
        answer = json.dumps({"state": state}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver)
print("listening", server.server_address[1], flush=True)
server.serve_forever()
