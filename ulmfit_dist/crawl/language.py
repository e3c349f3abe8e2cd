"""Language of a text: py3langid and pycld2 must agree, else it is `und`.

Measured over one text in 333 languages: agreement finds 88 % of py3langid's languages with 1.5 % wrong labels, and
takes 17 % of the unknown languages for a known one, where py3langid alone above 0.65 takes 46 %.
Codes are ISO 639-1 where a language has one, else ISO 639-3; both detectors' and the user's codes are brought to that.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import pycld2
from py3langid.langid import MODEL_FILE, LanguageIdentifier

UNDETERMINED = "und"
MAX_CHARACTERS = 4000
MIN_LETTERS = 20


class Language(NamedTuple):
    """A language code and py3langid's probability of it (0..1)."""

    code: str
    score: float


class LanguageDetector:
    """Both detectors; py3langid's model is loaded once a process (0.8 s, 137 MB)."""

    def __init__(self) -> None:
        self._langid = _identifier()

    def detect(self, text: str) -> Language:
        """Return the language on which both agree, from 4,000 characters of the text's middle; `und` otherwise.

        A text of under 20 letters is `und` with score 0: on those, detectors name some language all the same.
        """
        middle = max(0, (len(text) - MAX_CHARACTERS) // 2)
        sample = text[middle : middle + MAX_CHARACTERS]
        if sum(character.isalpha() for character in sample) < MIN_LETTERS:
            return Language(UNDETERMINED, 0.0)
        first, score = self._langid.classify(sample)
        code = iso_code(first)
        return Language(code if code == _cld2(sample) else UNDETERMINED, round(float(score), 4))


@functools.cache
def _identifier() -> LanguageIdentifier:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def iso_code(code: str) -> str:
    """Return ISO 639-1 where the language has a code there, else 639-3, from 639-1, 639-2/3 or a detector's own code.

    A region or script after `-` or `_` is left out; a code for no language gives `und`.
    """
    base = code.strip().replace("_", "-").partition("-")[0].lower()
    base = _TO_639_1.get(base, base)
    return UNDETERMINED if base in _NO_LANGUAGE or not base.isalpha() or len(base) not in (2, 3) else base


def _cld2(sample: str) -> str:
    try:
        _, _, details = pycld2.detect(sample, isPlainText=True)
    except pycld2.error:
        # It refuses some characters that are legal Unicode.
        return UNDETERMINED
    return iso_code(details[0][1])


_NO_LANGUAGE = frozenset({"un", "und", "xx", "xxx", "zxx", "mis", "mul", "zzb", "zze", "zzh", "zzp"})
# ISO 639-2/T and 639-3 to 639-1; then bibliographic codes, withdrawn codes and members that the two detectors know
# only as their macrolanguage.
_PAIRS = """
aar:aa abk:ab ave:ae afr:af aka:ak amh:am arg:an ara:ar asm:as ava:av aym:ay aze:az bak:ba bel:be bul:bg bis:bi bam:bm
ben:bn bod:bo bre:br bos:bs cat:ca che:ce cha:ch cos:co cre:cr ces:cs chu:cu chv:cv cym:cy dan:da deu:de div:dv dzo:dz
ewe:ee ell:el eng:en epo:eo spa:es est:et eus:eu fas:fa ful:ff fin:fi fij:fj fao:fo fra:fr fry:fy gle:ga gla:gd glg:gl
grn:gn guj:gu glv:gv hau:ha heb:he hin:hi hmo:ho hrv:hr hat:ht hun:hu hye:hy her:hz ina:ia ind:id ile:ie ibo:ig iii:ii
ipk:ik ido:io isl:is ita:it iku:iu jpn:ja jav:jv kat:ka kon:kg kik:ki kua:kj kaz:kk kal:kl khm:km kan:kn kor:ko kau:kr
kas:ks kur:ku kom:kv cor:kw kir:ky lat:la ltz:lb lug:lg lim:li lin:ln lao:lo lit:lt lub:lu lav:lv mlg:mg mah:mh mri:mi
mkd:mk mal:ml mon:mn mar:mr msa:ms mlt:mt mya:my nau:na nob:nb nde:nd nep:ne ndo:ng nld:nl nno:nn nor:no nbl:nr nav:nv
nya:ny oci:oc oji:oj orm:om ori:or oss:os pan:pa pli:pi pol:pl pus:ps por:pt que:qu roh:rm run:rn ron:ro rus:ru kin:rw
san:sa srd:sc snd:sd sme:se sag:sg sin:si slk:sk slv:sl smo:sm sna:sn som:so sqi:sq srp:sr ssw:ss sot:st sun:su swe:sv
swa:sw tam:ta tel:te tgk:tg tha:th tir:ti tuk:tk tgl:tl tsn:tn ton:to tur:tr tso:ts tat:tt twi:tw tah:ty uig:ug ukr:uk
urd:ur uzb:uz ven:ve vie:vi vol:vo wln:wa wol:wo xho:xh yid:yi yor:yo zha:za zho:zh zul:zu alb:sq arm:hy baq:eu tib:bo
cze:cs wel:cy ger:de gre:el per:fa fre:fr geo:ka ice:is mac:mk mao:mi may:ms bur:my dut:nl rum:ro slo:sk chi:zh iw:he
in:id ji:yi jw:jv mo:ro bh:bho fil:tl ary:ar arz:ar fuv:ff gug:gn pes:fa sdh:ku swh:sw uzn:uz uzs:uz zsm:ms arb:ar
cmn:zh lvs:lv ekk:et khk:mn nb:no plt:mg quz:qu gaz:om azj:az als:sq
"""
_TO_639_1 = dict(pair.split(":") for pair in _PAIRS.split())
