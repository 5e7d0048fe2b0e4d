"""Encoding of a table's text: told by its first bytes, else by what decodes and whether the letters make words.

charset-normalizer 3.5 was tried on short tables of labels (docs/tables.md has what came out): it takes all Western text
for CP1250, and Chinese and Japanese labels for CP949, for there is too little text for its statistics. This list is
short, asks where two encodings would do, and equal bytes give equal text on every machine: no locale is looked at.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Callable, Iterable
from functools import partial

from scansuite.errors import SuiteError

UTF8 = "utf-8-sig"  # with a byte order mark or without
_MARKS = (
    (codecs.BOM_UTF8, UTF8), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
_LOOKED_AT = 2000  # lines with other letters than those of ASCII
_MOSTLY = 0.95
# The syllables that Korean words and names are mostly made of, a fifth of the 2350 of KS X 1001: bytes of Chinese or
# Japanese that happen to be Hangul are of the other four fifths.
_USUAL_HANGUL = frozenset(
    "가각간갈감갑강개객거건걸검것게겠격견결경계고곡곤골공과관광괴교구국군굴권궤귀규균그극근글금급기긴길김까깨꺼께꼬꽃꾸끝끼"
    "나낙난날남납낭내낸냉너널네년념녕노녹논농높뇌누눈뉴느는늘능니님다단달담답당대댁더던덕데도독돈동된될됨두둔둘드든들등디딩"
    "따때떨또뜻라락란람랑래랙량러런럼레려력련렬렴령례로록론롱료루류륙률르름를릉리린림립링마막만말맘망매맥맹머먹멀메며면명"
    "모목몬몸못몽무묵문물뭐미민밀및바박반받발밝방배백번벌범법벽변별병보복본볼봄봉부북분불붕붙브블비빈빛빼뼈사삭산살삼상새색"
    "생서석선설섬섭성세섹센셀소속손송쇄쇠수숙순술숨쉬스슬습승시식신실심십싱쌍써쓰씨씩아악안알암압앙앞애액야약양어억언얼엄업"
    "없엇에엑엔여역연열염엽영예오옥온올옵옹와완왕외왼요용우욱운울움웅원월위유육윤율은을음응의이익인일임입있잉자작잔잘잠장재"
    "쟁저적전절점접정젖제져조족존졸종좌주죽준줄중즉즐증지직진질짐집징쪽찌차착찬찰참창채책처척천철첨첩청체초촉촌총촬최추축출"
    "충췌취측층치친칠침칭카칸칼캐커컨케켜코콜콩쾌쿠크큰클키킬타탁탄탈탐탑태택터턴테텍텐토통퇴투트특틀티팀파판팔패팽퍼페편"
    "평폐포폭폴표푸품풍프플피필핑하학한할함합항해핵행향허험헌혁현혈협형혜호혹혼홍화확환활황회획횡효후훈휴흉흑흔흘흡흥희히힘"
)
_SIGNS = frozenset("°±²³¹×÷ºª§€£©®™½¼¾¿¡«»“”„’‘–—…·•‰\xa0\xad")  # of Western code pages, those that tables have
# What text of other scripts decodes to: one character in a Latin word, half-width katakana, private use.
_NO_HAN = re.compile(r"[A-Za-z][\u4e00-\u9fff][A-Za-z]|[\uff61-\uff9f\ue000-\uf8ff]")


def declared(head: bytes) -> str | None:
    """The encoding that the first bytes of a file say: by a byte order mark, or UTF-16 by its zeros.

    Args:
        head: at least the first line, if the file is as long.
    """
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    even, odd = head[:4096:2], head[1:4096:2]
    for name, zeros, others in (("utf-16-le", odd, even), ("utf-16-be", even, odd)):
        if len(zeros) and zeros.count(0) > len(zeros) // 2 and others.count(0) == 0:  # most of a header is ASCII
            return name
    return None


def encoding_of(content: bytes, where: str, flag: str | None) -> str:
    """The encoding of text that is no UTF-8.

    Korean (CP949) where most letters are usual syllables; Western European (CP1252) where letters and signs stand as
    they do in words; else the one other encoding whose letters make sense.

    Args:
        content: the whole file.
        where: how messages begin.
        flag: that names an encoding; None: there is none for this file.

    Raises:
        SuiteError: none fits, or several do; says how each would read, or which line is no UTF-8.
    """
    lines = _other_lines(content)
    for name, makes_sense in _USUAL:
        text = _decoded(lines, name)
        if text is not None and makes_sense(text):
            return name
    found = [name for name, makes_sense in _OTHERS if (text := _decoded(lines, name)) and makes_sense(text)]
    broken = [number for number, line in lines if _decoded([(number, line)], "utf-8") is None]
    name_it = f", or name its encoding with {flag}" if flag else ""
    if len(broken) * 2 < len(lines):
        raise SuiteError(
            f"{where}: line {broken[0]} is not UTF-8, as the other lines are: save it again as UTF-8 ('CSV UTF-8' in "
            f"Excel){name_it}"
        )
    if len(found) == 1:
        return found[0]
    if not found:
        raise SuiteError(
            f"{where}: line {broken[0]} is neither UTF-8 nor in an encoding that its letters tell: save it as UTF-8 "
            f"('CSV UTF-8' in Excel){name_it}"
        )
    shown = [f"{name} ({_first_word(_decoded(lines[:1], name) or '')!r})" for name in found[:4]]
    say_it = f"say which with {flag}, or " if flag else ""
    raise SuiteError(
        f"{where}: its text is not UTF-8 and could be {', '.join(shown[:-1])} or {shown[-1]}: {say_it}save it as UTF-8"
    )


def line_that_fails(content: bytes, encoding: str) -> int | None:
    """Number of the first line that is not in an encoding, from 1; None where all of them are."""
    try:
        content.decode(encoding)
    except UnicodeError as error:
        place = error.start if isinstance(error, UnicodeDecodeError) else 0
        return content[:place].count(b"\n") + 1
    return None


def codec(name: str, flag: str) -> str:
    """Python's name of an encoding that a user names.

    Raises:
        SuiteError: there is none of that name.
    """
    usual = {
        "utf-8": UTF8,
        "utf8": UTF8,
        "ansi": "cp1252",
        "korean": "cp949",
        "euc-kr": "cp949",
        "ks_c_5601-1987": "cp949",
    }
    text = name.strip().lower()
    try:
        found = codecs.lookup(usual.get(text, text))
    except LookupError:
        found = None
    if found is None or not found._is_text_encoding:  # not base64 and the like
        raise SuiteError(
            f"{flag} {name}: no encoding of that name: utf-8, utf-16, cp949 (Korean), cp1252 (Western Europe), cp932 "
            "(Japanese) or gb18030 (Chinese), for instance"
        )
    return usual.get(text, found.name)


def spoken(encoding: str) -> str:
    """An encoding as people call it."""
    return {UTF8: "UTF-8", "big5": "Big5", "mac_roman": "MacRoman"}.get(encoding, encoding.upper().replace("_", "-"))


def _other_lines(content: bytes) -> list[tuple[int, bytes]]:
    """Lines with bytes beyond ASCII, with their numbers."""
    found: list[tuple[int, bytes]] = []
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.isascii():
            found.append((number, line))
            if len(found) == _LOOKED_AT:
                break
    return found


def _decoded(lines: Iterable[tuple[int, bytes]], encoding: str) -> str | None:
    try:
        return "\n".join(line.decode(encoding) for _, line in lines)
    except UnicodeDecodeError:
        return None


def _first_word(text: str) -> str:
    for separator in ",;\t|":
        text = text.replace(separator, "\n")
    return next((cell.strip(' "\r')[:40] for cell in text.split("\n") if not cell.isascii()), "")


# Whether a decoded text makes sense.


def _letters(text: str) -> list[str]:
    """The different letters beyond ASCII."""
    return [letter for letter in dict.fromkeys(text) if not letter.isascii() and letter.isalpha()]


def _share(letters: list[str], wanted: Callable[[str], bool]) -> float:
    return sum(map(wanted, letters)) / len(letters) if letters else 0.0


def _is_korean(text: str) -> bool:
    return _share(_letters(text), _USUAL_HANGUL.__contains__) > 0.6


def _is_hangul(text: str) -> bool:
    """Syllables, usual or not, of the 2350 that are typed."""
    return (
        _share(_letters(text), lambda letter: "가" <= letter <= "힣" and len(_bytes(letter, "euc_kr")) == 2) > _MOSTLY
    )


def _is_han(last_lead: int, encoding: str, text: str) -> bool:
    """Chinese characters of the level in use, in Japanese kana, and no letter of another script.

    Args:
        last_lead: the largest first byte of the standard's first level, of its characters in use.
        encoding: that the text was decoded by.
        text: the text.
    """
    letters = _letters(text)
    if _NO_HAN.search(text):
        return False
    kana = [letter for letter in letters if "\u3040" <= letter <= "\u30ff"]
    han = [letter for letter in letters if "\u4e00" <= letter <= "\u9fff"]
    if len(kana) + len(han) <= _MOSTLY * len(letters) or (kana and encoding not in ("cp932", "euc_jp")):
        return False
    return _share(han, lambda letter: 0 < (_bytes(letter, encoding) or b"\0")[0] <= last_lead) > 0.8 or not han


def _bytes(letter: str, encoding: str) -> bytes:
    return letter.encode(encoding, errors="ignore")


def _is_western(text: str) -> bool:
    """Latin letters with accents among plain ones, and signs where signs stand."""
    others = [place for place, letter in enumerate(text) if not letter.isascii()]
    good = sum(_stands_well(text, place) for place in others)
    return good >= _MOSTLY * len(others) and all(map(_is_word, _words(text)))


def _stands_well(text: str, place: int) -> bool:
    sign, before, behind = text[place], text[place - 1 : place], text[place + 1 : place + 2]
    if sign.isalpha():
        return not (sign.isupper() and before.isalpha() and before.islower())
    if sign in "²³¹":
        return before.isalnum() and not behind.isalpha()
    between = before.isalpha() and behind.isalpha()
    return sign in _SIGNS and (not between or sign in "’‘–—\xad" or (sign == "·" and before == behind == "l"))


def _words(text: str) -> list[str]:
    return "".join(letter if letter.isalpha() else " " for letter in text).split()


def _is_word(word: str) -> bool:
    other = sum(not letter.isascii() for letter in word)
    return other < 2 or other <= 0.7 * len(word)


def _is_of(script: str, text: str) -> bool:
    """Words of one script, as Cyrillic is written: no Latin letters and no capitals within, and no strange signs."""
    if _share(_letters(text), lambda letter: unicodedata.name(letter, "").startswith(script)) <= _MOSTLY:
        return False
    others = [place for place, letter in enumerate(text) if not letter.isascii()]
    whole = (word.isascii() or not any(map(str.isascii, word)) for word in _words(text))
    return all(_stands_well(text, place) for place in others) and all(whole)


# The first that makes sense is taken; of the others the only one.
_USUAL: tuple[tuple[str, Callable[[str], bool]], ...] = (("cp949", _is_korean), ("cp1252", _is_western))
_OTHERS: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("cp949", _is_hangul),
    ("gb18030", partial(_is_han, 0xD7, "gb2312")),
    ("big5", partial(_is_han, 0xC6, "big5")),
    ("cp932", partial(_is_han, 0x98, "cp932")),
    ("euc_jp", partial(_is_han, 0xCF, "euc_jp")),
    ("cp1250", _is_western),
    ("cp1251", partial(_is_of, "CYRILLIC")),
    ("cp1253", partial(_is_of, "GREEK")),
    ("mac_roman", _is_western),
    ("cp850", _is_western),
)
