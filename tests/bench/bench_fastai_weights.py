"""Weights to and from fastai 2's own code: what it saved we import, what we export it loads; the scores are equal.

    pytest -m slow -s tests/bench/bench_fastai_weights.py

Needs pandas and fastai 2, installed as bench_fastai_equality.py says; skipped without.
"""

from __future__ import annotations

import pickle
import warnings
from importlib import import_module

import pytest
import torch

from ulmfit_dist.errors import InputError
from ulmfit_dist.modelfolder.config import ModelConfig
from ulmfit_dist.modelfolder.exporting import export_weights
from ulmfit_dist.modelfolder.folder import load_language_model, save_language_model
from ulmfit_dist.modelfolder.importing import import_weights
from ulmfit_dist.models.language_model import LanguageModel
from ulmfit_dist.models.settings import AWDLSTMSettings
from ulmfit_dist.tokenization.recipe import WordRecipe
from ulmfit_dist.tokenization.vocabulary import build_vocabulary, count_words
from ulmfit_dist.tokenization.word import WordSplitter, WordTokenizer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
SIZES = AWDLSTMSettings(embedding_size=20, hidden_size=36, num_layers=3)
TEXTS = ["The film was GOOD and the plot was great\nA very very very good film", "her acting is a joy, 10000 times"]


class Fastai:
    """fastai's own learner, on batches of given ids."""

    def __init__(self, vocab, folder, sizes=SIZES):
        pytest.importorskip("fastai")
        import_module("fastai.callback.progress")  # adds no_bar
        import_module("fastai.callback.schedule")  # adds fit_one_cycle
        from fastai.basics import DataLoaders
        from fastai.losses import CrossEntropyLossFlat
        from fastai.text.learner import language_model_learner, text_classifier_learner
        from fastai.text.models.awdlstm import AWD_LSTM, awd_lstm_clas_config, awd_lstm_lm_config

        class Batches(list):
            bs, device, drop_last = 2, torch.device("cpu"), True

            @property
            def dataset(self):
                return self

            def to(self, _):
                return self

        generator = torch.Generator().manual_seed(5)
        windows = [torch.randint(2, len(vocab), (2, 2, 9), generator=generator) for _ in range(4)]
        batches = Batches(tuple(window) for window in windows)
        self.loaders = DataLoaders(batches, batches)
        self.loaders.vocab = list(vocab)
        config = {"emb_sz": sizes.embedding_size, "n_hid": sizes.hidden_size, "n_layers": sizes.num_layers}
        self.lm_config, self.clas_config = {**awd_lstm_lm_config, **config}, {**awd_lstm_clas_config, **config}
        self.arch, self.folder, self.loss = AWD_LSTM, folder, CrossEntropyLossFlat()
        self._lm, self._classifier = language_model_learner, text_classifier_learner

    def lm(self, names=None):
        given = {"pretrained_fnames": names} if names else {"pretrained": False}
        return self._lm(self.loaders, self.arch, config=self.lm_config, path=self.folder, model_dir=".", **given)

    def classifier(self):
        given = {"n_out": 2, "config": self.clas_config, "pretrained": False, "loss_func": self.loss}
        return self._classifier(self.loaders, self.arch, path=self.folder, model_dir=".", **given)


def scores_of_fastai(learner, tokens_bt):
    model = learner.model.eval()
    model.reset()
    with torch.no_grad():
        return model(tokens_bt)[0]


def scores_of_ours(folder, tokens_bt):
    model, _, _ = load_language_model(folder)
    with torch.no_grad():
        return model(tokens_bt.t(), model.encoder.initial_state(len(tokens_bt))).logits_TBV.transpose(0, 1)


def tokens(vocab_size):
    return torch.randint(0, vocab_size, (3, 15), generator=torch.Generator().manual_seed(2))


@pytest.fixture
def exported(tmp_path):
    """A model of ours, and what was exported of it."""
    recipe = WordRecipe(min_freq=1)
    tokenizer = WordTokenizer(recipe, build_vocabulary(count_words(TEXTS, WordSplitter(recipe)), recipe))
    model = LanguageModel(tokenizer.vocab_size, SIZES, tokenizer.pad_id, seed=3)
    torch.nn.init.normal_(model.decoder_bias, generator=torch.Generator().manual_seed(3))
    config = ModelConfig(kind="language_model", unit="word", direction="forward")
    save_language_model(tmp_path / "model", model, tokenizer, config)
    export_weights(tmp_path / "model", tmp_path / "out")
    return tmp_path


def vocabulary(folder):
    return pickle.loads((folder / "out" / "itos.pkl").read_bytes())


def test_fastai_loads_the_whole_model(exported):
    vocab = vocabulary(exported)
    learner = Fastai(vocab, exported / "out").lm()
    learner.load("lm", strict=True)
    window = tokens(len(vocab))
    assert torch.allclose(scores_of_fastai(learner, window), scores_of_ours(exported / "model", window), atol=1e-5)


def test_fastai_matches_the_vocabulary_as_for_its_own_pretrained_weights(exported):
    vocab = vocabulary(exported)
    other = [*vocab[:9], "unheard", *reversed(vocab[9:])]
    learner = Fastai(other, exported / "out").lm(names=["lm", "itos"])
    theirs = tokens(len(other)) % 9 + 10  # words that both know
    ours = torch.tensor([vocab.index(token) if token in vocab else 0 for token in other])
    got = scores_of_fastai(learner, theirs)
    want = scores_of_ours(exported / "model", ours[theirs])
    known = [index for index, token in enumerate(other) if token in vocab]
    assert torch.allclose(got[..., known], want[..., ours[known]], atol=1e-5)


def test_fastais_classifier_loads_the_encoder(exported):
    vocab = vocabulary(exported)
    learner = Fastai(vocab, exported / "out").classifier()
    learner.load_encoder("encoder")
    encoder = learner.model[0].module.eval()
    window = tokens(len(vocab))
    encoder.reset()
    with torch.no_grad():
        got = encoder(window)
        model, _, _ = load_language_model(exported / "model")
        want = model.encoder(window.t(), model.encoder.initial_state(3)).raw_TBE.transpose(0, 1)
    assert torch.allclose(got, want, atol=1e-5)


def test_fastais_tokens_are_in_the_vocabulary(exported):
    core = pytest.importorskip("fastai.text.core")
    made = core.Tokenizer(core.SpacyTokenizer("en"))(TEXTS[0])
    assert "\n" in made
    assert set(made) - set(vocabulary(exported)) <= {"xxwrep", "3"}  # it counts `very` otherwise


@pytest.mark.parametrize("with_opt", [True, False])
@pytest.mark.parametrize("whole", [True, False])
def test_we_load_what_fastai_trained_and_saved(tmp_path, with_opt, whole):
    vocab = ["xxunk", "xxpad", "xxbos", "xxeos", "xxfld", "xxrep", "xxwrep", "xxup", "xxmaj", *"abcdefg"]
    learner = Fastai(vocab, tmp_path).lm()
    with warnings.catch_warnings(), learner.no_bar(), learner.no_logging():
        warnings.simplefilter("ignore")
        learner.unfreeze()
        learner.fit_one_cycle(1, slice(1e-3, 1e-2))
    if whole:
        learner.save("fwd", with_opt=with_opt)
    else:
        learner.save_encoder("fwd")
        learner.model[1].decoder.bias.data.zero_()
    (tmp_path / "itos.pkl").write_bytes(pickle.dumps(learner.dls.vocab))
    summary = import_weights(tmp_path / "fwd.pth", tmp_path / "itos.pkl", tmp_path / "model")
    assert (summary["rules"], summary["encoder_only"]) == ("fastai-2", not whole)
    window = tokens(len(vocab))
    assert torch.allclose(scores_of_fastai(learner, window), scores_of_ours(tmp_path / "model", window), atol=1e-5)
    if whole and with_opt:  # why the importer does not build on weights_only
        with pytest.raises(pickle.UnpicklingError, match=r"fastcore\.foundation\.L|numpy"):
            torch.load(tmp_path / "fwd.pth", weights_only=True)


def test_an_exported_learner_is_refused(tmp_path):
    learner = Fastai(["xxunk", "xxpad", *"abcdefgh"], tmp_path).lm()
    torch.save(learner.model, tmp_path / "fwd.pth")
    (tmp_path / "itos.pkl").write_bytes(pickle.dumps(learner.dls.vocab))
    with pytest.raises(InputError, match="SequentialRNN"):
        import_weights(tmp_path / "fwd.pth", tmp_path / "itos.pkl", tmp_path / "model")
