"""Our fast.ai rule sets against fast.ai's own code, token by token.

    pytest -m slow -s tests/bench/bench_fastai_equality.py

Needs pandas and fastai 2 (`pip install --no-deps fastai==2.8.12 fastcore fastprogress==1.0.3 fasttransform beartype
fastdownload 'plum-dispatch<2.10'`), and for the older two a folder ULMFIT_FASTAI with the wheels that `pip download
--no-deps fastai==1.0.61` and `fastai==0.7.0` give, and the last create_toks.py (that of `xfld 2`) of fast.ai's
courses/dl2/imdb_scripts. The older code is not installed: the classes and functions that make tokens are taken out of
their files and run. What is missing is skipped. The texts are those of ULMFIT_DATA (default ~/data): research data,
which is why this is no unit test; the golden cases of the unit tests are checked here.
"""

from __future__ import annotations

import ast
import collections
import csv
import html
import itertools
import json
import os
import random
import re
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import spacy
from spacy.symbols import ORTH

from ulmfit_dist.tokenization.rawtext import join_fields
from ulmfit_dist.tokenization.recipe import WordRecipe
from ulmfit_dist.tokenization.word import WordSplitter

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
DATA = Path(os.environ.get("ULMFIT_DATA", "~/data")).expanduser()
ORIGINALS = Path(os.environ.get("ULMFIT_FASTAI", "fastai"))
GOLDEN = Path(__file__).parents[1] / "unit" / "tokenization" / "golden_fastai.jsonl"
GENERATIONS = ("fastai-0.7", "fastai-1", "fastai-2")

# The deviation that rules_fastai.py states: 1 glues its xxbos to the first, and counts it with the second.
TAKES_BOS_FOR_TEXT = re.compile(r"@[.,-]@ |(?:xxbos\W+){3}")


def run_parts(source, names, **namespace):
    """Run the functions, classes and assignments of these names out of a module; without names, all of them."""
    named = [(node, _names(node)) for node in ast.parse(source).body]
    kept = [node for node, found in named if (found & set(names) if names else found)]
    module = ast.Module(kept, type_ignores=[])
    exec(compile(module, "original", "exec", flags=annotations.compiler_flag), namespace)
    return SimpleNamespace(**namespace)


def _names(node):
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    return {ast.unparse(target) for target in node.targets} if isinstance(node, ast.Assign) else set()


def read_wheel(version, name):
    found = sorted(ORIGINALS.glob(f"fastai-{version}*.whl"))
    if not found:
        pytest.skip(f"no fastai {version} in {ORIGINALS}")
    with zipfile.ZipFile(found[0]) as wheel:
        return wheel.read(name).decode()


def original_0_7(language):
    import numpy as np
    import pandas as pd

    if not (ORIGINALS / "create_toks.py").is_file():
        pytest.skip(f"no create_toks.py in {ORIGINALS}")
    loads = SimpleNamespace(load=spacy.blank)
    text = run_parts(
        read_wheel("0.7.0", "fastai/text.py"), ["Tokenizer"], re=re, spacy=loads, ORTH=ORTH, string=__import__("string")
    )
    tokenizer = text.Tokenizer(language)

    def lends(lang):
        return SimpleNamespace(proc_all_mp=lambda groups, lang: [tokenizer.proc_text(text) for text in groups[0]])

    script = run_parts(
        (ORIGINALS / "create_toks.py").read_text(encoding="utf-8"),
        ["BOS", "FLD", "re1", "fixup", "get_texts"],
        re=re,
        html=html,
        np=np,
        Tokenizer=lends,
        partition_by_cores=lambda texts: [list(texts)],
    )

    def tokens(documents):
        table = pd.DataFrame([["0", *fields] for fields in documents])
        made, _ = script.get_texts(table, 1, lang=language)
        assert all(document[0] == "\n" for document in made)  # the one thing that is ours: no new line first
        return [document[1:] for document in made]

    return tokens


def original_1(language):
    import numpy as np
    import pandas as pd

    blank = SimpleNamespace(blank=lambda lang, disable: spacy.blank(lang))  # it has no components to disable
    names = {"re": re, "html": html, "collections": collections, "spacy": blank, "ORTH": ORTH}
    transform = run_parts(
        read_wheel("1.0.61", "fastai/text/transform.py"),
        [],
        **names,
        defaults=SimpleNamespace(cpus=1),
        ifnone=lambda value, default: default if value is None else value,
        Callable=None,
    )
    data = run_parts(
        read_wheel("1.0.61", "fastai/text/data.py"),
        ["_join_texts"],
        np=np,
        pd=pd,
        is1d=lambda values: values.ndim == 1,
        BOS=transform.BOS,
        FLD=transform.FLD,
        EOS=transform.EOS,
    )
    tokenizer = transform.Tokenizer(lang=language)

    def tokens(documents):
        texts = data._join_texts(np.array(documents, dtype=object), mark_fields=len(documents[0]) > 1)
        return tokenizer._process_all_1(texts)

    return tokens


def original_2(language):
    core = pytest.importorskip("fastai.text.core")
    import pandas as pd

    def tokens(documents):
        table = pd.DataFrame(documents)
        columns = list(range(len(table.columns)))
        table, _ = core.tokenize_df(table, columns, n_workers=0, tok=core.SpacyTokenizer(language))
        return [list(made) for made in table["text"]]

    return tokens


MAKERS = dict(zip(GENERATIONS, (original_0_7, original_1, original_2), strict=True))


def rows(path, limit):
    csv.field_size_limit(10**9)
    with path.open(encoding="utf-8", newline="") as lines:
        return [row[1] for row in itertools.islice(csv.reader(lines), limit)]


def articles(path):
    return re.split(r"</doc>\s*", path.read_text(encoding="utf-8"))[:-1]


def texts():
    """Reviews, short sentences, articles with their markup, and declarations in scripts of their own."""
    if not DATA.is_dir():
        pytest.skip(f"no {DATA}")
    found = rows(DATA / "imdb" / "train.csv", 4000)
    for path in sorted((DATA / "small_en").glob("*/*.csv")):
        found += rows(path, 300)
    for path in sorted((DATA / "lm_wiki_en_2015").glob("*_wiki_*"))[::40]:
        found += articles(path)[:150]
    assert len(found) >= 5000
    return found


def hostile(count):
    """Texts made of what the rules look at."""
    drawn = random.Random(3)
    units = (
        *("no ", "No ", "NO ", "no", "a", "A", "É", "é", "я", "Я", "日", "1", "0", " ", "  ", "\n", "\t", "\r", "\x85"),
        *(".", "...", "!", "-", "/", "#", "\\", "\\n", '\\"', "<br />", "<br>", "< br/>", "<unk>", "<eos>", "&", ";"),
        *("&amp;", "&#39;", "#39;", "&quot;", "&lt;", "&nbsp;", "&#0;", " @.@ ", " @-@ ", " @,@ ", "@.@ ", "xxbos "),
        *("xxmaj ", "t_up ", "U.S.", "don't", "ǅ", "ß", "Σ", "İ", "_", "'", '"', "http://a.b/c", "\u2028", "\ufeff"),
    )
    return ["".join(drawn.choices(units, k=drawn.randrange(1, 24))) for _ in range(count)]


def difference(ours, theirs):
    at = next(
        (i for i, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), min(len(ours), len(theirs))
    )
    return f"at {at}: ours {ours[max(0, at - 3) : at + 6]}, theirs {theirs[max(0, at - 3) : at + 6]}"


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("kind", ["real", "two fields", "hostile"])
def test_tokens_are_those_of_the_original(generation, kind):
    original = MAKERS[generation]("en")
    splitter = WordSplitter(WordRecipe(rules=generation))
    documents = [[text] for text in (hostile(20_000) if kind == "hostile" else texts())]
    if kind == "two fields":
        documents = [[first[0][:60], second[0]] for first, second in itertools.pairwise(documents)][::3]
    different, left_out = [], 0
    for start in range(0, len(documents), 500):
        group = documents[start : start + 500]
        for fields, theirs in zip(group, original(group), strict=True):
            ours = splitter.tokens(join_fields(fields))
            if generation == "fastai-1" and TAKES_BOS_FOR_TEXT.match(fields[0]):
                left_out += 1
            elif ours != theirs:
                different.append(f"{fields!r:.100} {difference(ours, theirs)}")
    print(f"\n{generation}, {kind}: {len(different)} of {len(documents)} documents differ, {left_out} left out")
    print("\n".join(different[:10]))
    assert not different
    assert left_out == 0 or (kind == "hostile" and left_out < 0.02 * len(documents))


@pytest.mark.parametrize("generation", GENERATIONS)
def test_golden_cases_are_those_of_the_original(generation):
    cases = [json.loads(line) for line in GOLDEN.read_text(encoding="utf-8").splitlines()]
    cases = [case for case in cases if case["rules"] == generation]
    assert cases
    for case in cases:
        assert MAKERS[generation](case["language"])([case["fields"]]) == [case["tokens"]]
