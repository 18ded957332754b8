"""The order of frames in time, told from the names of their files."""

import itertools
import os
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from sfa_jax.data._source import natural_key

# Whole numbers joined by points, perhaps after a sign that no letter, digit or bracket stands before.
_NUMBER = re.compile(r"((?<![^\W_])(?<![)\].+-])[+-])?([0-9]+(?:[.,][0-9]+)*)(e[+-][0-9]+(?![a-z0-9]))?", re.IGNORECASE)
_ODD = re.compile(r"[0-9][.,][0-9]|[+-][0-9]")  # what natural order may not understand
_CLOCK = re.compile(r"[0-9]{1,2}[-_:h][0-9]{2}[-_:m][0-9]{1,2}[.,][0-9]")  # 10-00-00.5: decimals of seconds
_DAY_FIRST = re.compile(r"(?<![0-9])[0-9]{1,2}[-_.]([0-9]{1,2}|[a-z]{3,9})[-_.](19|20)[0-9]{2}(?![0-9])", re.IGNORECASE)
_HALF_DAYS = re.compile(r"[0-9][-_ ]?[ap]m(?![a-z])", re.IGNORECASE)
_RANDOM = re.compile(r"[0-9a-f]{8,}(-[0-9a-f]{4,})*", re.IGNORECASE)


class _Reading(NamedTuple):
    """A name as text and numbers in turn, beginning with text."""

    parts: tuple[str | Decimal, ...]
    decimals: tuple[tuple[str, str], ...]  # digits before and after the point
    negative: bool

    @property
    def numbers(self) -> tuple[Any, ...]:
        return self.parts[1::2]


def sort_frames(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Sorts names of frames by the numbers and times in them.

    Numbers are whole (`frame2` comes before `frame10`), decimal (`0.05` before `0.1`), signed or hexadecimal, as all
    names together say.

    Args:
      names: of files in one folder.

    Returns:
      The names in order, and what is doubtful about it, a clause each.
    """
    stems = {name: _stem(name) for name in names}
    keys = {name: natural_key(stem)[0] for name, stem in stems.items()}
    natural = sorted(names, key=lambda name: (keys[name], name))
    if len(names) < 2:
        return natural, []
    doubts = _doubts_of_dates(list(stems.values()))
    twice = len(stems) - len(set(stems.values()))
    if twice:
        doubts.append(f"{twice} of the names come twice with another suffix, and each file is taken as a frame")
    hexadecimal = _hexadecimal(stems)
    if hexadecimal:
        return hexadecimal, doubts
    if not _ODD.search("\n".join(names)):
        return natural, doubts + _uneven(natural, [[part for _, part in keys[name]] for name in natural])
    whole = {name: _read(stem, decimal=False) for name, stem in stems.items()}
    exact = {name: _read(stem, decimal=True) for name, stem in stems.items()}
    by_whole, by_value = _sorted(whole), _sorted(exact)
    chosen, numbers = (by_value, exact) if any(reading.decimals for reading in exact.values()) else (by_whole, whole)
    if by_whole != by_value:
        is_decimal = _is_decimal(list(stems.values()), list(whole.values()), list(exact.values()))
        if is_decimal is False:
            chosen, numbers = by_whole, whole
        if is_decimal is None:
            first = next(pair for pair in zip(by_value, by_whole, strict=True) if pair[0] != pair[1])
            doubts.append(
                f"the numbers in their names are taken as decimals ({first[0]} before {first[1]}); as whole numbers "
                "joined by a point they would come in another order: give all as many digits"
            )
    negative = [reading.negative for reading in numbers.values()]
    if all(negative) and chosen != natural:
        doubts.append(f"each number after a hyphen is taken as negative ({chosen[0]} first)")
    return chosen, doubts + _uneven(chosen, [numbers[name].parts for name in chosen])


def _stem(name: str) -> str:
    stem, suffix = os.path.splitext(name)
    return name if suffix[1:].isdigit() else stem  # `img.0001`, and 0.05 of a file without a suffix


def _read(stem: str, *, decimal: bool) -> _Reading:
    parts: list[str | Decimal] = []
    decimals: list[tuple[str, str]] = []
    end, negative = 0, False
    for found in _NUMBER.finditer(stem):
        sign, digits, exponent = found[1] or "", re.split("[.,]", found[2]), found[3] or ""
        parts.append(stem[end : found.start()].casefold())
        end = found.end()
        negative |= sign == "-"
        if decimal and (len(digits) == 2 or exponent) and len(digits) <= 2:
            parts.append(Decimal(sign + ".".join(digits) + exponent))
            decimals += [(digits[0], digits[1])] if len(digits) == 2 else []
        else:  # a version, a date, or no decimals at all
            parts.append(Decimal(sign + digits[0]))
            for digit in digits[1:]:
                parts += [".", Decimal(digit)]
            if exponent:
                parts += [exponent[:2].casefold(), Decimal(exponent[2:])]
    return _Reading((*parts, stem[end:].casefold()), tuple(decimals), negative)


def _sorted(readings: dict[str, _Reading]) -> list[str]:
    return sorted(readings, key=lambda name: (readings[name].parts, natural_key(name)))


def _is_decimal(stems: list[str], whole: list[_Reading], exact: list[_Reading]) -> bool | None:
    """Whether points in names are those of decimals; None where the names do not say."""
    if any(re.search(r"[0-9]e[+-][0-9]", stem, re.IGNORECASE) for stem in stems) or any(map(_CLOCK.search, stems)):
        return True
    twice = [len({reading.parts for reading in readings}) < len(readings) for readings in (exact, whole)]
    if twice[0] != twice[1]:
        return twice[1]  # 1.1 and 1.10 are one value, 0.05 and 0.5 are one pair of whole numbers
    fractions = {after for reading in exact for _, after in reading.decimals}
    widths = {len(after) for after in fractions}
    leading = len(widths) > 1 and any(after[0] == "0" and len(after) > 1 for after in fractions)
    trailing = len(widths) > 1 and any(after[-1] == "0" and len(after) > 1 for after in fractions)
    if leading != trailing:
        return leading  # 0.05 beside 0.1, or 1.10 beside 1.9
    even = [_is_even(sorted(r.numbers for r in readings)) for readings in (exact, whole)]
    return even[0] if even[0] != even[1] else None


def _is_even(numbers: list[tuple[Decimal, ...]]) -> bool:
    """Whether only the last number changes, or the others rarely do, and it does by one step."""
    steps = [b[-1] - a[-1] for a, b in itertools.pairwise(numbers) if a and a[:-1] == b[:-1]]
    return len(steps) > 0.5 * (len(numbers) - 1) and max(steps) - min(steps) <= Decimal("0.05") * max(steps)


def _hexadecimal(stems: dict[str, str]) -> list[str]:
    """The names in the order of their hexadecimal numbers, which follow one another; empty if they are none."""
    first, last = min(stems.values()), max(stems.values())
    start = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    rest = {name: stem[start:].casefold() for name, stem in stems.items()}
    if any(not re.fullmatch("[0-9a-f]{0,15}", text) for text in rest.values()) or "" in rest.values():
        return []
    if not any(re.search("[a-f]", text) for text in rest.values()) or all(map(str.isalpha, rest.values())):
        return []
    ordered = sorted(rest, key=lambda name: int(rest[name], 16))
    steps = {int(rest[b], 16) - int(rest[a], 16) for a, b in itertools.pairwise(ordered)}
    return ordered if len(steps) == 1 and steps != {0} else []


def _doubts_of_dates(stems: list[str]) -> list[str]:
    """What in dates or random names puts the order of time out of reach."""
    checks: list[tuple[Callable[[str], re.Match[str] | None], str]] = [
        (_DAY_FIRST.search, "dates in their names begin with the day or month: put the year first"),
        (_HALF_DAYS.search, "times in their names are of 12 hours: write them with 24"),
    ]
    doubts = []
    for search, said in checks:
        found = [match[0] for match in map(search, stems) if match]
        if len(found) == len(stems) and len(set(found)) > 1:
            doubts.append(f"{said} ({found[0]!r}), or the order is not that of time")
    if all(map(_RANDOM.fullmatch, stems)) and any(re.search("[a-f]", stem.casefold()) for stem in stems):
        doubts.append(f"their names ({stems[0]!r}) look random, and an order of time is not in them")
    return doubts


def _uneven(names: Sequence[str], parts: Sequence[Sequence[Any]]) -> list[str]:
    """Where the one number that changes goes further than it usually does; `parts` are text and numbers in turn."""
    if len(names) < 4 or len({tuple(part[::2]) for part in parts}) > 1:
        return []
    changing = [column for column in zip(*(part[1::2] for part in parts), strict=True) if len(set(column)) > 1]
    if len(changing) != 1:
        return []
    steps = [b - a for a, b in itertools.pairwise(changing[0])]
    usual = sorted(steps)[len(steps) // 2]
    wide = [index for index, step in enumerate(steps) if 2 * step > 3 * usual > 0]
    if not wide:
        return []
    before, after = names[wide[0]], names[wide[0] + 1]
    return [
        f"the numbers in their names mostly go on by {usual:g}, but by more in {len(wide)} place(s), first from "
        f"{before} to {after}: if frames are missing there, put what comes after into a folder of its own"
    ]
