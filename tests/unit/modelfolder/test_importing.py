"""Imported models give the scores of a plain torch model of the same arrays; hostile files run nothing."""

# ruff: noqa: N802, N803, N806 - shape suffixes: T time, B batch
from __future__ import annotations

import pickle
import tarfile
import zipfile

import pytest
import torch

from ulmfit_dist.corpus.documents import Document, document_id, write_documents
from ulmfit_dist.errors import InputError
from ulmfit_dist.events import Silent
from ulmfit_dist.files import read_json
from ulmfit_dist.finetune.lm import FinetuneLMSettings, finetune_lm
from ulmfit_dist.modelfolder.folder import load_language_model
from ulmfit_dist.modelfolder.importing import ImportSettings, import_weights
from ulmfit_dist.stage import StageCall
from ulmfit_dist.tokenization.word import WordTokenizer
from ulmfit_dist.training.lm import LMTrainingSettings

SIZE = 24
LAYOUTS = {
    "2018": ("state_0_7", "MARKS_0_7", False, "fastai-0.7", "fastai-0.7"),
    "fastai 1": ("state_1", "MARKS_1", True, "fastai", "fastai-1"),
    "fastai 2": ("state_2", "MARKS_2", True, "fastai", "fastai-2"),
}


def scores_of(folder, tokens_TB):
    model, _, _ = load_language_model(folder)
    with torch.no_grad():
        return model(tokens_TB, model.encoder.initial_state(tokens_TB.shape[1])).logits_TBV


@pytest.fixture
def tokens_TB():
    return torch.randint(0, SIZE, (9, 3), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("name", LAYOUTS)
def test_scores_are_those_of_a_plain_model(published, tokens_TB, tmp_path, name, old):
    state, marks, bias, layout, rules = LAYOUTS[name]
    given = published.arrays(SIZE, bias=bias)
    tokens = published.words(getattr(published, marks), SIZE)
    weights = published.save(tmp_path / "fwd_wt103.h5", getattr(published, state)(given), old)
    itos = published.save_itos(tmp_path / "itos_wt103.pkl", tokens, protocol=3)
    summary = import_weights(weights, itos, tmp_path / "model")
    assert summary == {
        "layout": layout,
        "vocabulary": rules,
        "rules": rules,
        "direction": "forward",
        "vocab_size": SIZE,
        "embedding_size": 4,
        "hidden_size": 6,
        "num_layers": 3,
        "decoder_bias": bias,
        "encoder_only": False,
        "mean_rows": [],
    }
    _, tokenizer, config = load_language_model(tmp_path / "model")
    assert isinstance(tokenizer, WordTokenizer)
    assert tokenizer.vocabulary.itos == tuple(tokens)
    assert tokenizer.recipe.rules == rules
    assert (config.direction, config.pad_id) == ("forward", 1)
    assert config.training["layout"] == layout
    assert torch.allclose(scores_of(tmp_path / "model", tokens_TB), published.scores(given, tokens_TB), atol=1e-6)


@pytest.mark.parametrize("sizes", [(4, 6, 1), (5, 7, 2), (3, 8, 4)])
def test_sizes_are_those_of_the_arrays(published, tokens_TB, tmp_path, sizes):
    given = published.arrays(SIZE, sizes)
    weights = published.save(tmp_path / "bwd.pth", published.state_2(given))
    itos = published.save_itos(tmp_path / "itos.pkl", published.words(published.MARKS_2, SIZE))
    summary = import_weights(weights, itos, tmp_path / "model")
    assert summary["direction"] == "backward"
    assert (summary["embedding_size"], summary["num_layers"]) == (sizes[0], sizes[2])
    assert torch.allclose(scores_of(tmp_path / "model", tokens_TB), published.scores(given, tokens_TB), atol=1e-6)


def test_optimizers_state_is_left_alone(published, tokens_TB, tmp_path):
    given = published.arrays(SIZE)
    optimizer = {"state": [{"grad_avg": torch.zeros(3)}], "hypers": [{"lr": 0.1, "mom": None}]}
    weights = published.save(tmp_path / "fwd.pth", {"model": published.state_2(given), "opt": optimizer})
    itos = published.save_itos(tmp_path / "itos.pkl", published.words(published.MARKS_2, SIZE))
    import_weights(weights, itos, tmp_path / "model")
    assert torch.allclose(scores_of(tmp_path / "model", tokens_TB), published.scores(given, tokens_TB), atol=1e-6)


def test_an_encoder_alone_has_no_decoder_bias(published, tokens_TB, tmp_path):
    given = published.arrays(SIZE)
    weights = published.save(tmp_path / "fwd_enc.pth", published.encoder_of(published.state_1(given)))
    itos = published.save_itos(tmp_path / "itos.pkl", published.words(published.MARKS_1, SIZE))
    summary = import_weights(weights, itos, tmp_path / "model")
    assert summary["encoder_only"]
    assert not summary["decoder_bias"]
    del given["bias"]
    assert torch.allclose(scores_of(tmp_path / "model", tokens_TB), published.scores(given, tokens_TB), atol=1e-6)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("whole", [False, True])
def test_awd_lstm_lm_keeps_the_scores_of_its_words(published, tmp_path, old, whole):
    tokens = published.words(published.MARKS_AWD, SIZE)
    given = published.arrays(SIZE)
    value = published.awd_checkpoint(given) if whole else published.state_awd(given)
    weights = published.save(tmp_path / "WT2.pt", value, old)
    corpus = published.save(tmp_path / "corpus.data", published.awd_corpus(tokens), old)
    summary = import_weights(weights, corpus, tmp_path / "model", ImportSettings(direction="forward"))
    assert summary["layout"] == summary["vocabulary"] == "awd-lstm-lm"
    assert summary["rules"] == "ulmfit-1"
    assert summary["mean_rows"] == ["xxpad", "xxfld", "xxmaj", "xxup", "xxrep", "xxwrep"]
    model, tokenizer, _ = load_language_model(tmp_path / "model")
    stoi = tokenizer.vocabulary.stoi
    assert stoi["xxunk"] == 0
    assert set(tokens) - {"<unk>", "<eos>"} < set(stoi)
    row = {token: stoi[{"<unk>": "xxunk", "<eos>": "xxnl"}.get(token, token)] for token in tokens}
    theirs_TB = torch.randint(0, SIZE, (9, 3), generator=torch.Generator().manual_seed(2))
    ours_TB = torch.tensor([row[token] for token in tokens])[theirs_TB]
    same = scores_of(tmp_path / "model", ours_TB)[..., torch.tensor([row[token] for token in tokens])]
    assert torch.allclose(same, published.scores(given, theirs_TB), atol=1e-6)
    embedding = model.encoder.embedding
    assert torch.equal(embedding[stoi["xxbos"]], embedding[stoi["xxnl"]])
    assert torch.allclose(embedding[stoi["xxmaj"]], torch.from_numpy(given["embedding"]).mean(0))


def test_a_vocabulary_without_its_beginning_mark_gets_one(published, tmp_path):
    tokens = [token if token != "xbos" else "other" for token in published.words(published.MARKS_0_7, SIZE)]
    given = published.arrays(SIZE, bias=False)
    weights = published.save(tmp_path / "fwd.h5", published.state_0_7(given))
    summary = import_weights(weights, published.save_itos(tmp_path / "itos.pkl", tokens), tmp_path / "model")
    model, tokenizer, _ = load_language_model(tmp_path / "model")
    assert summary["mean_rows"] == ["xbos"]
    assert tokenizer.vocabulary.itos == (*tokens, "xbos")
    assert torch.allclose(model.encoder.embedding[-1], torch.from_numpy(given["embedding"]).mean(0))
    assert torch.equal(model.encoder.embedding[:-1], torch.from_numpy(given["embedding"]))


def test_fillers_of_a_vocabulary_stay(published, tokens_TB, tmp_path):
    tokens = [*published.words(published.MARKS_2, SIZE - 3), *["xxfake"] * 3]
    given = published.arrays(SIZE)
    weights = published.save(tmp_path / "fwd.pth", published.state_2(given))
    import_weights(weights, published.save_itos(tmp_path / "itos.pkl", tokens), tmp_path / "model")
    assert load_language_model(tmp_path / "model")[1].vocabulary.itos == tuple(tokens)
    assert torch.allclose(scores_of(tmp_path / "model", tokens_TB), published.scores(given, tokens_TB), atol=1e-6)


def test_special_tokens_of_2018_in_todays_rules(published, tmp_path):
    tokens = published.words(published.MARKS_0_7, SIZE)
    given = published.arrays(SIZE, bias=False)
    weights = published.save(tmp_path / "fwd.h5", published.state_0_7(given))
    itos = published.save_itos(tmp_path / "itos.pkl", tokens)
    import_weights(weights, itos, tmp_path / "model", ImportSettings(rules="ulmfit-1"))
    model, tokenizer, _ = load_language_model(tmp_path / "model")
    aliases = {"xxunk": "_unk_", "xxbos": "xbos", "xxup": "t_up", "xxrep": "tk_rep", "xxnl": "\n", "the": "the"}
    for ours, theirs in aliases.items():
        row = torch.from_numpy(given["embedding"])[tokens.index(theirs)]
        assert torch.equal(model.encoder.embedding[tokenizer.vocabulary.stoi[ours]], row)


def test_equal_files_equal_folders(published, tmp_path):
    given = published.arrays(SIZE)
    weights = published.save(tmp_path / "fwd.pth", published.state_1(given))
    itos = published.save_itos(tmp_path / "itos.pkl", published.words(published.MARKS_1, SIZE))
    for name in ("a", "b"):
        import_weights(weights, itos, tmp_path / name)
    files = [path.relative_to(tmp_path / "a") for path in sorted((tmp_path / "a").rglob("*")) if path.is_file()]
    assert len(files) == 5
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@pytest.mark.parametrize(
    ("name", "settings", "found"),
    [
        ("wt103.pth", {}, "neither fwd nor bwd"),
        ("fwd_of_bwd.pth", {}, "both"),
        ("fwd.pth", {"language": "ko"}, "Korean"),
        ("fwd.pth", {"rules": "fastai-9"}, "fastai-9"),
    ],
)
def test_what_the_caller_must_say(published, tmp_path, name, settings, found):
    weights = published.save(tmp_path / name, published.state_1(published.arrays(SIZE)))
    itos = published.save_itos(tmp_path / "itos.pkl", published.words(published.MARKS_1, SIZE))
    with pytest.raises(InputError, match=found):
        import_weights(weights, itos, tmp_path / "model", ImportSettings(**settings))
    assert not (tmp_path / "model").exists()


def test_a_vocabulary_of_another_model(published, tmp_path):
    weights = published.save(tmp_path / "fwd.pth", published.state_1(published.arrays(SIZE)))
    itos = published.save_itos(tmp_path / "itos.pkl", published.words(published.MARKS_1, SIZE + 1))
    with pytest.raises(InputError, match="25 tokens for 24 embedding rows"):
        import_weights(weights, itos, tmp_path / "model")


class Call:
    """Pickles to the call of a function."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def touch(marker):
    import os

    return Call(os.system, f"touch {marker}")


def with_pickle(path, state, change):
    """A file of torch.save whose pickle went through `change`."""
    torch.save(state, path)
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, change(content) if name.endswith("data.pkl") else content)


def os_system(path, state, marker):
    torch.save({**state, "extra": touch(marker)}, path)


def os_system_old_format(path, state, marker):
    torch.save({**state, "extra": touch(marker)}, path, _use_new_zipfile_serialization=False)


def plain_pickle(path, state, marker):
    path.write_bytes(pickle.dumps(touch(marker)))


def evaluated(path, state, marker):
    torch.save({**state, "extra": Call(eval, f"open({str(marker)!r}, 'w')")}, path)


def nested_in_hooks(path, state, marker):
    """The call stands where a tensor keeps its backward hooks."""

    class Tensor:
        def __reduce__(self):
            made = state["0.encoder.weight"]
            rest = made.untyped_storage(), 0, tuple(made.shape), made.stride(), False, {"hook": touch(marker)}
            return torch._utils._rebuild_tensor_v2, (
                torch.storage.TypedStorage(wrap_storage=rest[0], dtype=torch.float32, _internal=True),
                *rest[1:],
            )

    torch.save({**state, "0.encoder.weight": Tensor()}, path)


def in_the_optimizer(path, state, marker):
    torch.save({"model": state, "opt": {"state": [touch(marker)]}}, path)


def in_metadata(path, state, marker):
    state = state.copy()
    state._metadata = {"": touch(marker)}
    torch.save(state, path)


def imported_module(path, state, marker):
    """A GLOBAL of a module that is imported for its side effects; nothing is called."""
    (path.parent / "evil_module.py").write_text(f"open({str(marker)!r}, 'w')\nthing = 1\n")
    with_pickle(path, state, lambda content: content[:2] + b"cevil_module\nthing\n0" + content[2:])


def old_instance(path, state, marker):
    """The opcodes of protocol 0: INST calls without GLOBAL or REDUCE."""
    code = b"(S'touch " + str(marker).encode() + b"'\nios\nsystem\n0"
    with_pickle(path, state, lambda content: content[:2] + code + content[2:])


def persistent_module(path, state, marker):
    """A persistent id that names a class and the source to compare it with."""
    code = b"(X\x06\x00\x00\x00modulecos\nsystem\nX\x01\x00\x00\x00fX\x01\x00\x00\x00stQ0"
    with_pickle(path, state, lambda content: content[:2] + code + content[2:])


def getattr_of_allowed(path, state, marker):
    """Only names that real files hold: reaching from one of them to what it imports."""
    import collections

    reach = Call(getattr, Call(getattr, collections.OrderedDict, "__init__"), "__globals__")
    torch.save({**state, "0.encoder.weight": reach}, path)


def tar_file(path, state, marker):
    """The format before 0.1.10, which torch's loader unpickles too."""
    inner = path.with_name("pickle")
    inner.write_bytes(pickle.dumps(touch(marker)))
    with tarfile.open(path, "w") as archive:
        for name in ("storages", "tensors", "pickle"):
            archive.add(inner, name)


def zip_slip(path, state, marker):
    torch.save(state, path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"../../../..{marker}", b"escaped")


def zip_bomb(path, state, marker):
    """A storage of 256 MB in 256 kB."""
    torch.save(state, path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{path.stem}/data/99", bytes(1 << 28))


def huge_tensor(path, state, marker):
    """10^12 numbers declared of one, by a step of 0."""
    torch.save({**state, "0.encoder.weight": torch.zeros(1).expand(10**6, 10**6)}, path)


def huge_string(path, state, marker):
    with_pickle(path, state, lambda content: content[:2] + b"\x8d" + (1 << 60).to_bytes(8, "little") + content[2:])


def huge_memo(path, state, marker):
    """The C unpickler makes its memo as long as the largest index."""
    with_pickle(path, state, lambda content: content[:-1] + b"r\xfe\xff\xff\x7fcos\nsystem\n.")


def slow_hash(path, state, marker):
    """2^60 steps to hash a dict's key: pairs of pairs of pairs."""
    key = b")" + b"".join(b"2\x86" for _ in range(60))
    with_pickle(path, state, lambda content: b"\x80\x02}" + key + b"Ns.")


def truncated(path, state, marker):
    torch.save(state, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:-100])


def double_numbers(path, state, marker):
    torch.save({name: made.double() for name, made in state.items()}, path)


def integer_tensors(path, state, marker):
    torch.save({**state, "0.encoder.weight": state["0.encoder.weight"].long()}, path)


def not_a_number(path, state, marker):
    state["0.rnns.1.module.bias_ih_l0"][3] = float("nan")
    torch.save(state, path)


def hdf5(path, state, marker):
    import h5py

    with h5py.File(path, "w") as file:
        file["0.encoder.weight"] = state["0.encoder.weight"].numpy()


HOSTILE = [
    os_system,
    os_system_old_format,
    plain_pickle,
    evaluated,
    nested_in_hooks,
    in_the_optimizer,
    in_metadata,
    imported_module,
    old_instance,
    persistent_module,
    getattr_of_allowed,
    tar_file,
    zip_slip,
    zip_bomb,
    huge_tensor,
    huge_string,
    huge_memo,
    slow_hash,
    truncated,
    double_numbers,
    integer_tensors,
    not_a_number,
    hdf5,
]
RUN_BY_PICKLE = {
    os_system,
    os_system_old_format,
    plain_pickle,
    evaluated,
    nested_in_hooks,
    in_the_optimizer,
    in_metadata,
    imported_module,
    old_instance,
}


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda made: made.__name__)
def test_hostile_weights_are_refused_and_run_nothing(published, tmp_path, monkeypatch, hostile):
    marker = tmp_path / "marker"
    path = tmp_path / "fwd.pth"
    hostile(path, published.state_2(published.arrays(SIZE)), marker)
    monkeypatch.syspath_prepend(tmp_path)
    itos = published.save_itos(tmp_path / "itos.pkl", published.words(published.MARKS_2, SIZE))
    with pytest.raises(InputError) as raised:
        import_weights(path, itos, tmp_path / "model")
    assert not marker.exists()
    assert not (tmp_path / "model").exists()
    assert raised.value.found
    assert raised.value.do
    assert len(str(raised.value)) < 400 + len(str(path))
    if hostile in RUN_BY_PICKLE:  # the test would see what ran
        if hostile is plain_pickle:
            pickle.loads(path.read_bytes())
        else:
            torch.load(path, weights_only=False)
        assert marker.exists()


@pytest.mark.parametrize("protocol", range(5))
def test_hostile_vocabularies_are_refused_and_run_nothing(published, tmp_path, protocol):
    marker = tmp_path / "marker"
    weights = published.save(tmp_path / "fwd.pth", published.state_2(published.arrays(SIZE)))
    itos = tmp_path / "itos.pkl"
    itos.write_bytes(pickle.dumps([*published.words(published.MARKS_2, SIZE - 1), touch(marker)], protocol))
    with pytest.raises(InputError, match=r"posix\.system"):
        import_weights(weights, itos, tmp_path / "model")
    assert not marker.exists()
    pickle.loads(itos.read_bytes())
    assert marker.exists()


def test_fine_tuning_takes_it_like_our_own(published, tmp_path):
    tokens = [*published.MARKS_0_7, "a", "film", "was", "good", "bad", "and", "great", "fun"]
    given = published.arrays(len(tokens), bias=False)
    weights = published.save(tmp_path / "fwd.h5", published.state_0_7(given))
    import_weights(weights, published.save_itos(tmp_path / "itos.pkl", tokens), tmp_path / "model")
    documents = [Document(document_id("d", str(n)), f"A film was {word} and BAD .") for n, word in enumerate("xyz" * 4)]
    write_documents(tmp_path / "task", documents, 800)
    training = LMTrainingSettings(epochs=1, frozen_epochs=0, num_lanes=2, bptt=5, valid_lanes=2, device="cpu")
    inputs = {"model": tmp_path / "model", "train": tmp_path / "task", "valid": tmp_path / "task"}
    settings = FinetuneLMSettings(min_freq=1, training=training)
    summary = finetune_lm(StageCall(settings, inputs, tmp_path / "tuned", Silent()))
    _, tokenizer, config = load_language_model(tmp_path / "tuned" / "model")
    assert {"_unk_", "xbos", "t_up", "film", "x"} < set(tokenizer.vocabulary.itos)
    assert tokenizer.recipe.rules == "fastai-0.7"
    assert not config.architecture.decoder_bias
    new = set(tokenizer.vocabulary.itos)
    assert summary["metrics"]["coverage"]["rows_hit"] == len(new & set(tokens)) == len(new) - len({"x", "y", "z", "1"})
    assert config.training["from"]["training"]["layout"] == "fastai-0.7"


def test_the_card_and_config_say_where_it_came_from(published, tmp_path):
    weights = published.save(tmp_path / "fwd.pth", published.state_1(published.arrays(SIZE)))
    itos = published.save_itos(tmp_path / "itos.pkl", published.words(published.MARKS_1, SIZE))
    import_weights(weights, itos, tmp_path / "model")
    training = read_json(tmp_path / "model" / "config.json")["training"]
    assert training["stage"] == "import_weights"
    assert set(training["files"]) == {"weights", "itos"}
    assert "import_weights" in (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
