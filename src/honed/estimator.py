"""A scikit-learn classifier of texts: one specialist, trained in memory, for `cross_val_score`, `Pipeline` and friends.

It trains one model and proves nothing: the proof (folds, baselines, locked holdout, report) is `honed.fit`'s.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin

from honed.config import Config, make_config
from honed.data.dataset import Dataset, content_ids
from honed.data.text_lists import checked_texts
from honed.errors import DataError

if TYPE_CHECKING:
    from honed.artifact import Artifact
    from honed.bases import ResolvedBase
    from honed.serving.engine import Specialist

Rows = npt.NDArray[np.int64]


class HonedClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """Adapts a pretrained text model to labelled texts.

    The parameters are those of `honed fit`, under the same names and with the same defaults, but for `stop_frac`: 0
    trains all epochs on all rows; above, that share of the rows (stratified, groups whole) decides when to stop.

    Attributes after `fit`: `classes_`, the labels as they were given (strings or integers), sorted; `curve_`, one
    dictionary an epoch with `train_loss` and `stop_loss` (nats); `artifact_`, what was learned.
    """

    def __init__(  # noqa: PLR0913 - scikit-learn reads the parameters from this signature
        self,
        *,
        base: str = "minilm",
        method: str = "lora",
        method_options: dict[str, Any] | None = None,
        head: str = "mean",
        layers: int | str = "auto",
        depth: int | str = "auto",
        max_tokens: int = Config.model_fields["max_tokens"].default,
        epochs: int = Config.model_fields["epochs"].default,
        patience: int = Config.model_fields["patience"].default,
        batch_size: int = Config.model_fields["batch_size"].default,
        learning_rate: float | None = Config.model_fields["learning_rate"].default,
        head_learning_rate: float = Config.model_fields["head_learning_rate"].default,
        weight_decay: float = Config.model_fields["weight_decay"].default,
        warmup_frac: float = Config.model_fields["warmup_frac"].default,
        clip_norm: float = Config.model_fields["clip_norm"].default,
        stop_frac: float = 0.0,
        precision: str = "float32",
        device: str = "auto",
        seed: int = 0,
    ) -> None:
        self.base = base
        self.method = method
        self.method_options = method_options
        self.head = head
        self.layers = layers
        self.depth = depth
        self.max_tokens = max_tokens
        self.epochs = epochs
        self.patience = patience
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.head_learning_rate = head_learning_rate
        self.weight_decay = weight_decay
        self.warmup_frac = warmup_frac
        self.clip_norm = clip_norm
        self.stop_frac = stop_frac
        self.precision = precision
        self.device = device
        self.seed = seed

    def fit(self, texts: Sequence[str], labels: Sequence[Any], groups: Sequence[Any] | None = None) -> HonedClassifier:
        """Train on texts: n strings, labels: n strings or integers; groups matter only for `stop_frac` > 0.

        Raises ConfigError for a parameter out of range, DataError for labels that cannot be learned.
        """
        from honed.bases import resolve
        from honed.pipeline.assembly import check_fits
        from honed.pipeline.settle import with_layers

        config = self._config()
        found = resolve(config.base)
        config = with_layers(config, found.n_layers)
        check_fits(config, found)
        dataset = self._dataset(checked_texts(texts), labels, groups)
        train, stop = self._parts(dataset, config)
        self._train(config, found, dataset, train, stop)
        return self

    def predict(self, texts: Sequence[str]) -> npt.NDArray[Any]:
        """The label of each text: (n,), of the type that `fit` was given."""
        probs = self.predict_proba(texts)
        result: npt.NDArray[Any] = self.classes_[probs.argmax(axis=1)]
        return result

    def predict_proba(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """Probabilities: (n, c), in the order of `classes_`. They are not calibrated: that needs held-out rows."""
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self, "artifact_")
        return self._loaded().probabilities(checked_texts(texts))

    def __getstate__(self) -> dict[str, Any]:
        """What is copied and stored: parameters and what was learned, not the base, which is found again."""
        state: dict[str, Any] = dict(super().__getstate__())
        state.pop("_specialist", None)
        return state

    def __sklearn_tags__(self) -> Any:
        """Texts come as one column of strings."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        return tags

    def _config(self) -> Config:
        parameters = self.get_params(deep=False)
        return make_config(
            {**parameters, "task": "text_classification", "method_options": parameters["method_options"] or {}}
        )

    def _dataset(self, texts: list[str], labels: Sequence[Any], groups: Sequence[Any] | None) -> Dataset:
        from sklearn.utils.multiclass import check_classification_targets

        given = np.asarray(labels)
        for name, column in (("labels", given), ("groups", groups)):
            if column is not None and len(column) != len(texts):
                raise DataError(
                    f"There are {len(texts)} texts but {len(column)} {name}.", remedy="Give one for each text."
                )
        check_classification_targets(given)
        self.classes_, index = np.unique(given, return_inverse=True)
        if len(self.classes_) < 2:
            raise DataError(
                f"The labels hold one class only: {self.classes_.tolist()}.",
                remedy="Give rows of at least two classes.",
            )
        names = tuple(str(name) for name in self.classes_.tolist())
        ids = content_ids(texts, [names[j] for j in index])
        return Dataset(
            example_id=np.array(ids, dtype=np.str_),
            inputs=texts,
            label=index.astype(np.int64),
            group=np.array(ids if groups is None else [str(group) for group in groups], dtype=np.str_),
            label_names=names,
            row=np.arange(len(texts)),
        )

    @staticmethod
    def _parts(dataset: Dataset, config: Config) -> tuple[Rows, Rows]:
        """Rows to train on, and rows that decide when to stop (none unless asked for)."""
        from honed.data.folds import plan_folds

        everything = np.arange(len(dataset))
        if config.stop_frac == 0:
            return everything, everything[:0]
        plan = plan_folds(dataset, folds=2, holdout_frac=config.stop_frac, stop_frac=0, seed=config.seed)
        return plan.development, plan.holdout

    def _train(self, config: Config, base: ResolvedBase, dataset: Dataset, train: Rows, stop: Rows) -> None:
        from honed.artifact import Artifact
        from honed.events import Emitter
        from honed.pipeline.assembly import artifact_info, make_stack, training_options
        from honed.serving.engine import Specialist
        from honed.training.build import encode, make_trunk
        from honed.training.loop import Examples, Loop, SlotPlan

        emitter = Emitter()
        stack = make_stack(base, config, dataset.label_names, 1)
        inputs = encode(stack, dataset.inputs)
        stratum = np.zeros(len(dataset), dtype=np.int64)
        examples = Examples(inputs, dataset.label, np.ones(len(dataset)), stratum, train)
        with tempfile.TemporaryDirectory(prefix="honed-trunk-") as folder:
            trunk = make_trunk(stack, inputs, base.hidden_size, Path(folder) / "trunk", config.cache_frac, emitter)
            loop = Loop(stack, trunk, examples, training_options(config, config.batch_size), emitter)
            runs = loop.start([SlotPlan("the model", 0, train, stop)])
            loop.train(runs)
        self.curve_ = runs[0].curve
        info = artifact_info(
            config, base, stack, dataset.label_names, temperature=1.0, dataset_fingerprint=dataset.fingerprint
        )
        self.artifact_: Artifact = Artifact(info, stack.slot_state(0))
        self._specialist: Specialist = Specialist(self.artifact_, stack)

    def _loaded(self) -> Specialist:
        """The specialist, loaded onto its base again after a copy or a restart."""
        if not hasattr(self, "_specialist"):
            from honed.bases import resolve
            from honed.serving.engine import assemble

            self._specialist = assemble(self.artifact_, resolve(self.artifact_.info.base), device=self.device)
        return self._specialist
