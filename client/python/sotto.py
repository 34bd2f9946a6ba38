#!/usr/bin/env python3
"""A client of Sotto's daemon in one file; Python 3.9 and its standard library are enough.

    from sotto import Sotto

    with Sotto(["--account", "bot"]) as sotto:          # through the daemon, or with the account in a process of its own
        sotto.send(recipients=["alice"], message="hello")
        for event in sotto.events():                    # acknowledged one after the other, as each is done with
            if event["type"] == "message.received" and event["data"]["kind"] == "text":
                sotto.send(recipients=[event["data"]["sender"]], message="you said: " + event["data"]["body"])

Every command of `sotto` is a method: `sotto.contact.list()` is `sotto contact list`, arguments are keywords in snake case
(`my_name="Bot"`); each returns the list of documents that the command prints with --json. `sotto openrpc` describes all of
them. Run as a program, it answers every text with the same text.
"""

import json
import queue
import re
import subprocess
import sys
import threading


class SottoError(Exception):
    """A call failed: `code` is a word, `exit` the exit code that the command would have had, `hint` what to do next."""

    def __init__(self, error):
        data = error.get("data") or {}
        super().__init__(error.get("message", "failed"))
        self.number, self.code = error.get("code"), data.get("code")
        self.exit, self.hint, self.data = data.get("exit"), data.get("hint"), data


class _Noun:
    """The words of a method, up to the call."""

    def __init__(self, client, words):
        self._client, self._words = client, words

    def __getattr__(self, word):
        return _Noun(self._client, self._words + [_camel(word)])

    def __call__(self, **params):
        return self._client.call(".".join(self._words), **params)


class Sotto:
    """A connection with the daemon over `sotto rpc`, which finds the daemon or opens the account by itself."""

    def __init__(self, options=(), program="sotto"):
        self._process = subprocess.Popen(
            [program, *options, "rpc"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
        self._next, self._waiting, self._lock = 1, {}, threading.Lock()
        self._events = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __getattr__(self, word):
        if word.startswith("_"):
            raise AttributeError(word)
        return _Noun(self, [_camel(word)])

    def close(self):
        """Ends the connection."""
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait()

    def call(self, method, timeout=120, **params):
        """Calls a method; parameters are keywords in snake case. Raises SottoError."""
        answer = queue.Queue(1)
        with self._lock:
            number, self._next = self._next, self._next + 1
            self._waiting[number] = answer
            params = {_camel(name): value for name, value in params.items()}
            request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            try:
                self._process.stdin.write(json.dumps(request) + "\n")
                self._process.stdin.flush()
            except (BrokenPipeError, ValueError):
                self._waiting.pop(number, None)
                raise SottoError(_GONE) from None
        try:
            message = answer.get(timeout=timeout)
        except queue.Empty:
            self._waiting.pop(number, None)
            raise TimeoutError(f"{method} has not answered within {timeout} s") from None
        if "error" in message:
            raise SottoError(message["error"])
        return message["result"]

    def events(self, after=None, acknowledge=True):
        """What comes, as it comes, and before that everything that nobody has acknowledged.

        An event with a cursor is acknowledged when the next one is asked for: whoever dies in between is told it again.
        With `after` and without `acknowledge`, the cursor is the caller's own to keep.
        """
        self.call("events.subscribe", after=after)
        while True:
            event = self._events.get()
            if event is None:
                raise SottoError(_GONE)
            yield event
            if acknowledge and "cursor" in event:
                self.call("events.ack", cursor=event["cursor"])

    def _read(self):
        for line in self._process.stdout:
            message = json.loads(line)
            if message.get("method") == "event":
                self._events.put(message["params"])
            elif message.get("id") in self._waiting:
                self._waiting.pop(message["id"]).put(message)
        self._events.put(None)
        for answer in list(self._waiting.values()):
            answer.put({"error": _GONE})


_GONE = {"code": -32000, "message": "the daemon has gone away", "data": {"code": "daemon", "exit": 3}}


def _camel(name):
    return re.sub(r"_([a-z0-9])", lambda letter: letter.group(1).upper(), name)


def main(options):
    """Answers every text with the same text."""
    with Sotto(options) as sotto:
        for event in sotto.events():
            if event["type"] == "request.received":
                sotto.request.accept(request=event["data"]["id"])
            elif event["type"] == "message.received" and event["data"].get("kind") == "text":
                sotto.send(recipients=[event["data"]["sender"]], message=event["data"]["body"])


if __name__ == "__main__":
    main(sys.argv[1:])
