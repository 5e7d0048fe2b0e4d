"""Encodings of short tables: which are told, and which are asked about rather than guessed."""

from __future__ import annotations

import codecs
import locale
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamodules.tables.encodings import codec, declared, encoding_of, line_that_fails
from scansuite.errors import SuiteError

TOLD = {
    "cp949": [
        "path,label\nimages/a.png,정상\nimages/b.png,비정상\n", "경로,판독\na.png,폐렴\nb.png,정상\nc.png,결절\n",
        "path,label,이름\na.png,1,김철수\nb.png,0,이영희\n", "path;병변;나이\na.png;악성;3,5\nb.png;양성;4,0\n",
        "path,label\na.png,폐\nb.png,간\n", "p,l\na,뇌출혈\nb,정상\n", "p,l\na,간경변\nb,담낭염\nc,췌장염\n",
        "p,성별\na,남\nb,여\n", "이름,생년월일\n홍길동,1980\n임꺽정,1970\n", "p,크기(㎜)\na,3\n", "p,l\na,석회화\n",
        "파일,소견\na.png,우상엽 경화\nb.png,흉수 소량\n", "p,병원\na,서울대학교병원\n",
        "p,등급\na,쀍\nb,정상\nc,악성 종양\n",
    ],
    "cp1252": [
        "path,label\na.png,gutartig\nb.png,bösartig\n", "Pfad;Größe;Befund\na.png;3,5;größer\nb.png;4,0;weiß\n",
        "chemin;étiquette\na.png;bénin\nb.png;élevé\n", "ruta,diagnóstico\na.png,sí\nb.png,no\n", "p,l\na,37°C\n",
        "path,size_µm\na.png,3\n", "nome,diagnóstico\na,não\nb,câncer\nc,coração\n", "p,l\na,Übelkeit\nb,Ödem\n",
        "p,l\na,œdème\nb,cœur\n", "p,l\na,l’été\n", "p;l\na;5 ± 2 mm²\n", "p,l\na,ja\nb,Hjärta\nc,Åsa\nd,vänster\n",
        "p,l\n1,niño\n2,niña\n3,año\n", "p,l\na,“unclear”\nb,5 €\n",
    ],
    "gb18030": ["path,label\na,正常\nb,异常\n", "p,l\na,良性\nb,恶性\nc,病变\n", "路径,标签\na,肺炎\nb,正常\n"],
    "cp932": ["path,label\na.png,正常\nb.png,異常\n", "パス,ラベル\na.png,肺炎\nb.png,正常\n"],
    "euc_jp": ["パス,ラベル\na.png,肺炎\nb.png,正常\n"],
    "big5": ["p,l\na,良性\nb,惡性\n"],
    "cp1250": ["p,l\na,złośliwy\nb,łagodny\n"],
    "cp1251": ["p,l\na,норма\nb,патология\n", "p,l\na,Норма\nb,Пневмония\n"],
    "mac_roman": ["p,l\na,größer\nb,gutartig\n", "p,l\na,bénin\nb,élevé\n"],
    "cp850": ["p,l\na,größer\nb,übel\n"],
}  # fmt: skip


# Written down once the rules stood, and not changed since: labels, and how many tables are told.
UNSEEN: dict[str, tuple[int, list[str]]] = {
    "cp949": (15, [
        "기흉,흉막삼출", "유방촬영,석회", "남자,여자", "홍채,망막", "갑상선결절,림프절", "위선종,대장폴립", "골절,탈구",
        "이영자,최민수,박찬호", "심비대,무기폐", "좌측,우측", "중등도,경미", "윤형빈,곽철용", "뇌종양,수막종",
        "급성충수염,없음", "간세포암,혈관종",
    ]),
    "cp1252": (15, [
        "Lungenentzündung,unauffällig", "fièvre,pneumothorax", "neumonía,corazón", "hjärtförstoring,läkare",
        "kræft,ingen", "carcinome épidermoïde,nævus", "lesão,não", "hydronephrose à gauche,sein", "Ärztin,Müller",
        "più,perché", "garçon,fille", "Krankenhaus Köln,Straße", "sténose,œsophage", "señal,médico", "élève,âge",
    ]),
    "gb18030": (2, ["肺结节,无", "男,女", "乳腺癌,纤维瘤", "张三,李四", "肿瘤,囊肿"]),
    "euc_jp": (1, ["がん,せいじょう", "肺がん,異常なし", "男性,女性", "田中太郎,鈴木一郎"]),
    "cp932": (4, ["がん,せいじょう", "肺がん,異常なし", "男性,女性", "田中太郎,鈴木一郎"]),
    "big5": (3, ["腫瘤,囊腫", "男,女", "乳癌,纖維瘤", "王小明,李大華"]),
}  # fmt: skip


def found(content: bytes) -> str:
    return encoding_of(content, "--data.table t.csv", "--data.encoding")


@pytest.mark.parametrize(("encoding", "text"), [(name, text) for name, texts in TOLD.items() for text in texts])
def test_an_encoding_is_told_by_its_letters(encoding: str, text: str) -> None:
    content = text.encode(encoding)
    assert content.decode(found(content)) == text
    windows = text.replace("\n", "\r\n").encode(encoding)
    assert found(windows) == found(content)


@pytest.mark.parametrize("encoding", UNSEEN)
def test_short_tables_that_no_rule_was_made_for_are_told_or_asked_about_and_never_misread(encoding: str) -> None:
    told = 0
    for labels in UNSEEN[encoding][1]:
        text = "path,label\n" + "".join(f"images/{row}.png,{label}\n" for row, label in enumerate(labels.split(",")))
        with suppress(SuiteError):
            assert text.encode(encoding).decode(found(text.encode(encoding))) == text
            told += 1
    assert told == UNSEEN[encoding][0]


@pytest.mark.parametrize(
    ("encoding", "text"), [("euc_jp", "p,l\na,正常\nb,異常\n"), ("big5", "p,l\na,肺炎\n"), ("cp1253", "p,l\na,όγκος\n")]
)
def test_what_may_be_several_is_asked_about_with_what_each_would_read(encoding: str, text: str) -> None:
    with pytest.raises(
        SuiteError, match=r"^--data\.table t\.csv: .* could be .*: say which with --data\.enc"
    ) as caught:
        found(text.encode(encoding))
    assert f"{encoding} ({text.splitlines()[1].split(',')[1]!r})" in str(caught.value)


def test_equal_bytes_are_equal_text_under_every_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    content = TOLD["cp949"][0].encode("cp949")
    for name in ("cp949", "cp1252", "utf-8"):
        monkeypatch.setattr(locale, "getpreferredencoding", lambda do_setlocale=True, name=name: name)
        monkeypatch.setattr(locale, "getencoding", lambda name=name: name)
        assert found(content) == "cp949"


@given(st.binary(max_size=60))
def test_any_bytes_give_an_encoding_that_reads_them_or_one_line(content: bytes) -> None:
    if line_that_fails(content, "utf-8") is None:
        return
    try:
        name, line = found(content), ""
    except SuiteError as error:
        name, line = "", str(error)
    assert content.decode(name) if name else "\n" not in line


def test_what_first_bytes_say() -> None:
    for text in ("path,label\n", "경로,판독\na.png,정상\nb.png,비정상\n"):
        for name in ("utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be"):
            content = text.encode(name)
            assert content.decode(declared(content) or "ascii") == text, name
        assert declared(text.encode("utf-8")) is None
        assert declared(text.encode("cp949")) is None
    assert declared(codecs.BOM_UTF16_BE + "a".encode("utf-16-be")) == "utf-16"
    assert declared(b"") is None


def test_names_that_people_give() -> None:
    assert codec("EUC-KR", "--data.encoding") == codec("korean", "f") == codec("949", "f") == "cp949"
    assert codec("UTF-8", "f") == codec("utf8", "f") == "utf-8-sig"
    assert codec("latin1", "f") == "iso8859-1"


def test_the_line_that_fails() -> None:
    assert line_that_fails("a\né\n".encode("cp1252"), "utf-8") == 2
    assert line_that_fails(b"a\nb\n", "utf-8") is None
