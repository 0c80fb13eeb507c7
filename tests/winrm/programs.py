"""The commands that run in a shell: real processes, of programs with the names of those on Windows."""

import os
import queue
import re
import shutil
import signal
import subprocess
import threading

# What Windows tells of a process that was ended from outside; as it does, without a sign.
CONTROL_C_EXIT = 0xC000013A


class NotFound(Exception):
    """What cmd says of a command line that it cannot carry out."""


def split(line):
    """Parts a command line as most programs on Windows do, but for escaped quotes."""
    return [word.replace('"', "") for word in re.findall(r'(?:[^\s"]|"[^"]*")+', line)]


class Command:
    """A process, what it is still to read, and what it has written that nobody has taken yet."""

    def __init__(self, words, path_first):
        path = os.pathsep.join([*([path_first] if path_first else []), "/usr/local/bin", "/usr/bin", "/bin"])
        name = words[0].rsplit("\\", 1)[-1]
        found = shutil.which(name, path=path) or shutil.which(name + ".exe", path=path)
        if not found:
            raise NotFound(f"'{name}' is not recognized as an internal or external command,\r\noperable program or batch file.")
        self.output, self.changed, self.code = [], threading.Condition(), None
        self.input = queue.SimpleQueue()
        self.process = subprocess.Popen(
            [found, *words[1:]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"PATH": path},
            # A group of its own, so that all of its processes can be ended together.
            process_group=0,
        )
        readers = [
            threading.Thread(target=self.read, args=pair, daemon=True)
            for pair in (("stdout", self.process.stdout), ("stderr", self.process.stderr))
        ]
        for thread in [*readers, threading.Thread(target=self.write, daemon=True)]:
            thread.start()
        threading.Thread(target=self.wait, args=(readers,), daemon=True).start()

    @classmethod
    def failed(cls, text):
        """A command that cmd could not carry out."""
        command = cls.__new__(cls)
        command.output, command.changed, command.code = [("stderr", text.encode() + b"\r\n")], threading.Condition(), 1
        command.process = None
        return command

    @property
    def is_done(self):
        return self.code is not None

    def read(self, name, stream):
        while piece := stream.read1(1 << 16):
            with self.changed:
                self.output.append((name, piece))
                self.changed.notify_all()

    def write(self):
        try:
            with self.process.stdin as stream:
                while (piece := self.input.get()) is not None:
                    stream.write(piece)
                    stream.flush()
        except BrokenPipeError:
            pass

    def wait(self, readers):
        for reader in readers:
            reader.join()
        code = self.process.wait()
        with self.changed:
            self.code = code if code >= 0 else CONTROL_C_EXIT
            self.changed.notify_all()
        self.input.put(None)

    def feed(self, piece, is_last):
        """Says whether there is anybody left to read it."""
        if self.is_done:
            return False
        self.input.put(piece)
        if is_last:
            self.input.put(None)
        return True

    def take(self, room, patience):
        """Returns what has been written and, with the last of it, the exit code; nothing where there is nothing in time."""
        with self.changed:
            self.changed.wait_for(lambda: self.output or self.is_done, patience)
            if not self.output and not self.is_done:
                return None
            taken = []
            while self.output and room > 0:
                name, piece = self.output.pop(0)
                taken.append((name, piece[:room]))
                if len(piece) > room:
                    self.output.insert(0, (name, piece[room:]))
                room -= len(piece)
            return taken, self.code if not self.output else None

    def kill(self):
        if self.process and not self.is_done:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.process.wait()
