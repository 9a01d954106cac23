# Archives as Python's own library writes them, and such as nobody should write. One argument: the folder.
import copy
import gzip
import io
import json
import os
import struct
import sys
import tarfile
import zipfile

folder = sys.argv[1]
os.chdir(folder)


def write_zip(name, members, year, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(name, "w", method) as archive:
        for path, content in members:
            archive.writestr(zipfile.ZipInfo(path, (year, 1, 2, 3, 4, 6)), content, method)


def npy(values):
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (%d,), }" % len(values)
    header = header.ljust(128 - 10 - 1) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + struct.pack("<%dd" % len(values), *values)


weights, bias = npy([0.1 * i for i in range(5000)]), npy([1.0, 2.0])
write_zip("a.npz", [("weights.npy", weights), ("bias.npy", bias)], 2020)
write_zip("b.npz", [("bias.npy", bias), ("weights.npy", weights)], 2024, zipfile.ZIP_STORED)
write_zip("changed.npz", [("bias.npy", npy([1.0, 2.0000000001])), ("weights.npy", weights)], 2020)
write_zip("more.npz", [("bias.npy", bias), ("weights.npy", weights), ("extra.npy", bias)], 2020)
write_zip("twice.npz", [("bias.npy", bias), ("bias.npy", weights), ("weights.npy", weights)], 2020)
write_zip("twice-turned.npz", [("bias.npy", weights), ("bias.npy", bias), ("weights.npy", weights)], 2020)

for name, saved in (("a.keras", "2024-01-02@03:04:05"), ("b.keras", "2025-06-07@08:09:10")):
    metadata = json.dumps({"keras_version": "3.1.0", "date_saved": saved})
    write_zip(name, [("metadata.json", metadata), ("config.json", "{}"), ("model.weights.h5", weights)], int(saved[:4]))
write_zip("c.keras", [("metadata.json", '{"keras_version": "3.2.0"}'), ("config.json", "{}"), ("model.weights.h5", weights)], 2024)


def write_tar(name, members, mtime, owner, mode="w"):
    with tarfile.open(name, mode) as archive:
        for path, content in members:
            info = tarfile.TarInfo(path)
            info.size, info.mtime, info.uname, info.uid = len(content), mtime, owner, len(owner)
            archive.addfile(info, io.BytesIO(content))


write_tar("a.tar", [("model/w", weights), ("model/b", bias)], 1, "ada")
write_tar("b.tar", [("model/b", bias), ("model/w", weights)], 2, "grace")
write_tar("a.tar.gz", [("model/w", weights), ("model/b", bias)], 1, "ada", "w:gz")
write_tar("b.tar.gz", [("model/b", bias), ("model/w", weights)], 2, "grace", "w:gz")
write_tar("changed.tar.gz", [("model/b", bias), ("model/w", weights[:-1] + b"\x01")], 2, "grace", "w:gz")

for name, mtime in (("a.gz", 1), ("b.gz", 2)):
    with gzip.GzipFile(name, "wb", mtime=mtime) as out:
        out.write(weights)

# Hostile from here on.
write_zip("names.zip", [("../../escape", b"x"), ("/etc/escape", b"y"), ("c:\\escape", b"z"), ("a/\x1b[2J", b"")], 2020)
write_zip("bomb.zip", [("zeros", bytes(64 * 1024 * 1024))], 2020)
write_zip("many.zip", [("member-%d" % i, b"x") for i in range(3000)], 2020)

with zipfile.ZipFile("overlapping.zip", "w", zipfile.ZIP_DEFLATED) as archive:
    archive.writestr("zeros", bytes(1024 * 1024))
    for i in range(500):
        again = copy.copy(archive.filelist[0])
        again.filename = again.orig_filename = "zeros-%d" % i
        archive.filelist.append(again)

whole = open("a.npz", "rb").read()
open("truncated.zip", "wb").write(whole[: len(whole) // 2])
open("tail.zip", "wb").write(whole[:-30])
at = whole.index(b"weights.npy") + 200
open("flipped.zip", "wb").write(whole[:at + 30] + bytes([whole[at + 30] ^ 1]) + whole[at + 31:])
central = whole.rindex(b"PK\x01\x02")
open("crc.zip", "wb").write(whole[: central + 16] + b"\0\0\0\0" + whole[central + 20:])
# A member that says it is as large as a 64-bit number can be.
open("zip64.zip", "wb").write(
    whole[: central + 24] + b"\xff\xff\xff\xff" + whole[central + 28:]
)
open("magic.zip", "wb").write(b"PK\x03\x04" + bytes(1000))
open("magic.gz", "wb").write(b"\x1f\x8b" + bytes(1000))
open("cut.gz", "wb").write(open("a.gz", "rb").read()[:-400])
open("cut.tar", "wb").write(open("a.tar", "rb").read()[:3000])
with gzip.GzipFile("bomb.tar.gz", "wb", mtime=1) as out:
    header = tarfile.TarInfo("zeros")
    header.size = 64 * 1024 * 1024
    out.write(header.tobuf())
    out.write(bytes(header.size))
# A name that would take 8 GiB of memory to read.
header = tarfile.TarInfo("././@LongLink")
header.type, header.size = tarfile.GNUTYPE_LONGNAME, 8 * 1024**3 - 1
open("name.tar", "wb").write(header.tobuf() + bytes(100000))
with tarfile.open("links.tar", "w") as archive:
    link = tarfile.TarInfo("../../escape")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    archive.addfile(link)
