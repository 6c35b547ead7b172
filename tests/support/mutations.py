"""Input that nobody should give."""

import random

STRANGE = [
    *("", " ", "-", "--", "-1", "0", "00", "1.5", "1e309", "nan", "inf", "-inf", "0x10", "1_000"),
    *(
        "true",
        "None",
        "null",
        "[]",
        "{}",
        "a,b,,c",
        ",",
        "=",
        "a=b=c",
        "%s",
        "%(x)s",
        "{x}",
        "$HOME",
    ),
    *("../../etc/passwd", "/", ".", "~", "con", "*", "?", "\\", "'", '"', ";", "`id`", "<b>", "\n"),
    *(
        "\t",
        "\x1b[31m",
        "\u202e",
        "💥",
        "é",
        "\udcff",
        "٣",
        "A" * 5000,
        "9" * 400,
        "preset",
        "auto",
    ),
    *("http://a:b@c", "tcp://", "MNIST", "resnet18", "rbf", "2147483648", "-9223372036854775809"),
]


def mutated(content: bytes, chance: random.Random) -> bytes:
    """`content` as it should never be."""
    data = bytearray(content)
    for _ in range(chance.choice([1, 1, 1, 2, 8])):
        at = chance.randrange(len(data) + 1)
        length = min(chance.choice([1, 1, 4, 64, 4096]), len(data) - at)
        match chance.randrange(7):
            case 0 if length:
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                del data[at:]
            case 2:
                del data[at : at + length]
            case 3:
                data[at:at] = chance.randbytes(length)
            case 4:
                data[at : at + length] = bytes([chance.choice([0, 255])]) * length
            case 5:
                data[at:at] = data[at : at + length]
            case _:
                data[at : at + length] = chance.randbytes(length)
    return bytes(data)
