"""Raw bytes of a database through SQLite's own descriptor, read and, by ``mend`` alone, written.

POSIX locks belong to the process and the inode: closing *any* descriptor of a main file or of a WAL index
drops all the locks that SQLite holds there. So neither is ever opened here. SQLite hands out its own file
object (``SQLITE_FCNTL_FILE_POINTER``), and its public method table (``sqlite3_io_methods`` in sqlite3.h,
unchanged since 3.7.0) reads the main file and maps the WAL index. Calls through ``ctypes`` release the
interpreter lock and read into the caller's memory.

The connection must have been opened with the VFS ``unix``, or with that of the ciphers, whose file object
has the one of ``unix``, with the pages as they lie on the disk, behind its method table.
"""

from __future__ import annotations

import ctypes
import errno

import apsw

VFS = "unix"
CIPHER_VFS = "multipleciphers-unix"
"""Stacked upon the other, for encrypted files: what SQLite reads through it is decoded."""

_SHM_BLOCK = 32768
_IOERR_SHORT_READ = 522
_SYNC_FULL = 3
_OK = 0

_READ = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int64, use_errno=False
)
_SYNC = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
_FILE_SIZE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.c_int64))
_SHM_MAP = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.POINTER(ctypes.c_void_p),
)


class _IoMethods(ctypes.Structure):
    """The beginning of ``sqlite3_io_methods``; methods that are not called are plain pointers."""

    _fields_ = (
        ("iVersion", ctypes.c_int),
        ("xClose", ctypes.c_void_p),
        ("xRead", _READ),
        ("xWrite", _READ),
        ("xTruncate", ctypes.c_void_p),
        ("xSync", _SYNC),
        ("xFileSize", _FILE_SIZE),
        ("xLock", ctypes.c_void_p),
        ("xUnlock", ctypes.c_void_p),
        ("xCheckReservedLock", ctypes.c_void_p),
        ("xFileControl", ctypes.c_void_p),
        ("xSectorSize", ctypes.c_void_p),
        ("xDeviceCharacteristics", ctypes.c_void_p),
        ("xShmMap", _SHM_MAP),
    )


class PageFile:
    """The main file of an open connection, and its WAL index. For one thread at a time.

    Valid as long as the connection is open; the caller keeps a transaction open while it reads, so that
    the bytes stand still.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        if connection.open_vfs not in (VFS, CIPHER_VFS):
            raise ValueError(f"the connection was opened with the VFS {connection.open_vfs!r}, not {VFS!r}")
        pointer = ctypes.c_void_p()
        connection.file_control("main", apsw.SQLITE_FCNTL_FILE_POINTER, ctypes.addressof(pointer))
        if connection.open_vfs == CIPHER_VFS and pointer.value:
            pointer = ctypes.c_void_p(ctypes.cast(pointer, ctypes.POINTER(ctypes.c_void_p))[1])
        table = ctypes.cast(pointer, ctypes.POINTER(ctypes.c_void_p))[0] if pointer.value else None
        if not pointer.value or not table:
            raise ValueError("the connection has no file")
        self._file = pointer
        self._methods = ctypes.cast(table, ctypes.POINTER(_IoMethods)).contents
        # The method table lives in the library, the file object in the connection.
        self._connection = connection

    def size(self) -> int:
        """The size of the main file in bytes. Raises OSError."""
        size = ctypes.c_int64()
        code = self._methods.xFileSize(self._file, ctypes.byref(size))
        if code != _OK:
            raise OSError(errno.EIO, f"SQLite cannot tell the size of the file (code {code})")
        return size.value

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """Fill ``buffer``, a writable one, from byte ``offset``; bytes past the end read as zeros.

        Raises OSError.
        """
        if not buffer:
            return
        target = (ctypes.c_char * len(buffer)).from_buffer(buffer)
        code = self._methods.xRead(self._file, ctypes.addressof(target), len(buffer), offset)
        if code not in (_OK, _IOERR_SHORT_READ):
            raise OSError(f"SQLite cannot read {len(buffer)} bytes at {offset} (code {code})")

    def write(self, data: bytes, offset: int) -> None:
        """Put ``data`` at byte ``offset``, past SQLite's own bookkeeping. Raises OSError."""
        source = ctypes.create_string_buffer(data, len(data))
        code = self._methods.xWrite(self._file, ctypes.addressof(source), len(data), offset)
        if code != _OK:
            raise OSError(f"SQLite cannot write {len(data)} bytes at {offset} (code {code})")

    def sync(self) -> None:
        """Make what was written durable. Raises OSError."""
        code = self._methods.xSync(self._file, _SYNC_FULL)
        if code != _OK:
            raise OSError(f"SQLite cannot sync the file (code {code})")

    def index_block(self, number: int) -> memoryview | None:
        """Block ``number`` (32 KiB) of the shared WAL index, live; None if there is no such block.

        Only for a connection in WAL mode that has a transaction open: SQLite then holds the index.
        """
        if self._methods.iVersion < 2:
            return None
        address = ctypes.c_void_p()
        code = self._methods.xShmMap(self._file, number, _SHM_BLOCK, 0, ctypes.byref(address))
        if code != _OK or not address.value:
            return None
        return memoryview((ctypes.c_ubyte * _SHM_BLOCK).from_address(address.value)).cast("B").toreadonly()
