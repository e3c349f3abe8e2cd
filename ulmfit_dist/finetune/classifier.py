"""Target-task classifier fine-tuning (paper section 3.3): one member from one fine-tuned language model."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from ulmfit_dist.config import Settings
from ulmfit_dist.corpus.documents import MANIFEST_NAME
from ulmfit_dist.files import digest_file, write_json
from ulmfit_dist.finetune.calibration import expected_calibration_error
from ulmfit_dist.finetune.labelled import LabelledDocuments, read_labelled_documents, read_training_documents
from ulmfit_dist.finetune.metrics import Floats, accuracy, macro_f1, negative_log_likelihood
from ulmfit_dist.finetune.predict import encode_documents, predict_encoded
from ulmfit_dist.finetune.predictions import Predictions, write_predictions
from ulmfit_dist.modelfolder.config import ModelConfig
from ulmfit_dist.modelfolder.folder import load_language_model, save_classifier
from ulmfit_dist.models.classifier import ClassifierSettings, TextClassifier
from ulmfit_dist.stage import StageCall, Summary
from ulmfit_dist.training.checkpoint import CheckpointFolder
from ulmfit_dist.training.classifier import (
    ClassifierData,
    ClassifierStage,
    ClassifierTrainingSettings,
    train_classifier_loop,
)

CURVES_NAME = "curves.json"
VALID_PREDICTIONS_NAME = "predictions-valid.parquet"
Unfreezing = Literal["2018", "paper", "v1", "training"]


class TrainClassifierSettings(Settings):
    """How a classifier is trained."""

    unfreezing: Unfreezing = Field(
        default="2018",
        description="head, one layer more, all (2018); a layer an epoch (paper); four falling rates (v1); "
        "or the stages that `training` lists",
    )
    epochs: int = Field(default=2, ge=1, description="epochs of the last stage, in which all layers are trained")
    lr: float = Field(default=0.01, gt=0, description="highest rate of the head")
    drop_mult: float = Field(default=1.0, ge=0, le=2, description="multiplies the classifier's dropouts")
    classifier: ClassifierSettings = Field(default=ClassifierSettings(), description="head, dropouts, pooling")
    training: ClassifierTrainingSettings = Field(
        default=ClassifierTrainingSettings(), description="batches, schedule, optimizer"
    )


def train_classifier(call: StageCall[TrainClassifierSettings]) -> Summary:
    """Train a classifier on a language model's encoder; write out/model, predictions-valid.parquet and curves.json.

    Inputs: `model`, a language-model folder; `train` and `valid`, labelled document folders. The labels of `train`,
    sorted, are the classes. Resumable: a second call continues from out/checkpoints.
    Raises InputError for an empty split, a document without a label, one label only, or a validation label unseen in
    training.
    """
    settings = call.settings
    train = read_training_documents(call.inputs["train"])
    valid = read_labelled_documents(call.inputs["valid"], train.labels)
    language_model, tokenizer, config = load_language_model(call.inputs["model"])
    model = TextClassifier.from_language_model(
        language_model, len(train.labels), settings.classifier.scaled(settings.drop_mult), settings.training.seed
    )
    valid_ids = encode_documents(tokenizer, config.direction, valid.texts)
    train_ids = encode_documents(tokenizer, config.direction, train.texts)
    data = ClassifierData(train_ids, train.targets.tolist(), valid_ids, valid.targets.tolist())
    training = settings.training
    if settings.unfreezing != "training":
        stages = unfreezing_stages(settings.unfreezing, len(model.layer_groups()), settings.epochs, settings.lr)
        training = training.model_copy(update={"stages": stages})
    checkpoints = CheckpointFolder(call.out / "checkpoints", reporter=call.reporter)
    result = train_classifier_loop(model, data, training, checkpoints, call.reporter)
    probabilities = predict_encoded(model, valid_ids)
    metrics = {**result.metrics, **score_probabilities(probabilities, valid)}
    save_classifier(call.out / "model", model, tokenizer, _config(call, config, train, metrics))
    predictions = {"probabilities": Predictions(valid.ids, valid.labels, probabilities)}
    write_predictions(call.out / VALID_PREDICTIONS_NAME, predictions, valid.names)
    write_json(call.out / CURVES_NAME, result.curves)
    checkpoints.clear()
    return {"metrics": metrics, "labels": list(train.labels), "documents": len(train.documents)}


def unfreezing_stages(
    name: Literal["2018", "paper", "v1"], num_groups: int, epochs: int, lr: float
) -> list[ClassifierStage]:
    """Return a named schedule; stages count layer groups from the head down.

    2018 (fast.ai 0.7, train_clas.py): head, head and top layer, all. paper (section 3.3): one layer more each epoch.
    v1 (fastai v1, ULMFit.ipynb): 1, 2, 3 and all groups at lr, lr/2, lr/4 and lr/20.
    """
    everything = ClassifierStage(groups=0, epochs=epochs, lr=lr)
    if name == "2018":
        return [*(ClassifierStage(groups=groups, lr=lr) for groups in (1, 2)), everything]
    if name == "paper":
        return [*(ClassifierStage(groups=groups, lr=lr) for groups in range(1, num_groups)), everything]
    falling = [ClassifierStage(groups=groups, lr=lr / 2 ** (groups - 1)) for groups in (1, 2, 3)]
    return [*falling, everything.model_copy(update={"lr": lr / 20})]


def score_probabilities(probabilities: Floats, documents: LabelledDocuments) -> dict[str, float]:
    """Return accuracy, macro F1, mean negative log-likelihood (nats) and expected calibration error."""
    predicted = probabilities.argmax(1)
    return {
        "accuracy": accuracy(documents.targets, predicted),
        "macro_f1": macro_f1(documents.targets, predicted, len(documents.labels)),
        "nll": negative_log_likelihood(probabilities, documents.targets),
        "ece": expected_calibration_error(probabilities, documents.targets),
    }


def _config(
    call: StageCall[TrainClassifierSettings], config: ModelConfig, train: LabelledDocuments, metrics: dict[str, Any]
) -> ModelConfig:
    history = {
        "stage": "train_classifier",
        "from": {"encoder_fingerprint": config.encoder_fingerprint, "training": config.training},
        "settings": call.settings.semantic(),
        "documents": {name: digest_file(call.inputs[name] / MANIFEST_NAME) for name in ("train", "valid")},
        "metrics": metrics,
    }
    return config.model_copy(update={"kind": "classifier", "labels": list(train.labels), "training": history})
