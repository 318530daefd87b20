"""Functions of codes with mixed predictions. docs/format-mixing.md, sections 1 and 2."""

SQUASHED = [int(word) for word in """
    22 25 28 32 36 41 47 53 60 68 77 87 98 111 126 143 162 184 208 236 267 302 342 387 439 497 562 636 720 815 922 1042
    1179 1333 1506 1701 1921 2168 2446 2758 3108 3500 3938 4427 4971 5577 6249 6992 7812 8714 9702 10782 11955 13226 14595
    16062 17625 19282 21025 22849 24743 26695 28693 30723 32768 34813 36843 38841 40793 42687 44511 46254 47911 49474 50941
    52310 53581 54754 55834 56822 57724 58544 59287 59959 60565 61109 61598 62036 62428 62778 63090 63368 63615 63835 64030
    64203 64357 64494 64614 64721 64816 64900 64974 65039 65097 65149 65194 65234 65269 65300 65328 65352 65374 65393 65410
    65425 65438 65449 65459 65468 65476 65483 65489 65495 65500 65504 65508 65511 65514""".split()]
MASK32, MASK64 = (1 << 32) - 1, (1 << 64) - 1


def mix(a, b):
    product = ((a << 32 | b) * 0x9E3779B97F4A7C15) & MASK64
    return ((product ^ product >> 29) * 0xBF58476D1CE4E5B9 & MASK64) >> 32


def squash(x):
    place, rest = divmod(min(max(x, -2047), 2047) + 2048, 32)
    return (SQUASHED[place] * (32 - rest) + SQUASHED[place + 1] * rest) >> 5


def stretch_table():
    table, x = [], -2047
    for odds in range(4096):
        while x < 2047 and squash(x) >> 4 < odds:
            x += 1
        table.append(x)
    return table


STRETCH = stretch_table()


def power_of_two(least, lowest, highest):
    value = 1
    while value < least:
        value *= 2
    return min(max(value, lowest), highest)
