"""The stage's output on disk, bounded."""

import os

CHUNK_BYTES = 1 << 20
TAIL_BYTES = 64 << 10


class Log:
    """The merged output, as bytes. Its middle is left out past the limit; the last bytes, which explain a failure, stay."""

    def __init__(self, path, limit_bytes):
        self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.limit_bytes = limit_bytes
        self.tail_bytes = min(TAIL_BYTES, limit_bytes // 4)
        self.room = limit_bytes - self.tail_bytes
        self.tail = bytearray()
        self.beyond = self.lost = 0
        self.trouble = None
        self.buffer = bytearray(CHUNK_BYTES)

    def pump(self, source):
        """Moves one chunk. Returns its size: 0 at the end of the output, None when there is nothing at the moment."""
        try:
            size = os.readv(source, [self.buffer])
        except BlockingIOError:
            return None
        view = memoryview(self.buffer)[:size]
        head = view[: self.room]
        self.room -= len(head)
        self.write(head)
        self.keep_tail(view[len(head) :])
        return size

    def keep_tail(self, view):
        self.beyond += len(view)
        self.tail += view[max(0, len(view) - self.tail_bytes) :]
        if len(self.tail) > 2 * self.tail_bytes:
            del self.tail[: len(self.tail) - self.tail_bytes]

    def write(self, data):
        # A full disk must not stop the stage: what cannot be stored is counted.
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self.fd, view) :]
            except OSError as error:
                self.trouble = os.strerror(error.errno)
                self.lost += len(view)
                return

    def finish(self):
        del self.tail[: max(0, len(self.tail) - self.tail_bytes)]
        left_out = self.beyond - len(self.tail)
        if left_out:
            text = '\n[assay] The log reached its limit of %d bytes: %d bytes are left out here, the last %d follow.\n'
            self.write((text % (self.limit_bytes, left_out, len(self.tail))).encode())
        self.write(self.tail)
        if self.lost:
            self.write(('\n[assay] %d bytes could not be stored: %s.\n' % (self.lost, self.trouble)).encode())
        return os.fstat(self.fd).st_size, left_out + self.lost
