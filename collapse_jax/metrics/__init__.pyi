"""Metrics that do not belong to one model."""

from collapse_jax.metrics.digit_classifiers import JUDGEMENTS as JUDGEMENTS
from collapse_jax.metrics.digit_classifiers import NUM_HELD_OUT as NUM_HELD_OUT
from collapse_jax.metrics.digit_classifiers import DigitClassifiers as DigitClassifiers
from collapse_jax.metrics.digit_classifiers import classifier_metrics as classifier_metrics
from collapse_jax.metrics.digit_classifiers import frechet as frechet
from collapse_jax.metrics.digit_classifiers import load_classifiers as load_classifiers
from collapse_jax.metrics.digit_classifiers import precision_and_recall as precision_and_recall
from collapse_jax.metrics.digit_classifiers import save_judges as save_judges
from collapse_jax.metrics.digit_classifiers import train_judges as train_judges
from collapse_jax.metrics.digit_classifiers import unanimous as unanimous
from collapse_jax.metrics.model_free import high_frequency_energy as high_frequency_energy
from collapse_jax.metrics.model_free import images as images
from collapse_jax.metrics.model_free import log_total_variance as log_total_variance
from collapse_jax.metrics.model_free import pixel_variance as pixel_variance
from collapse_jax.metrics.model_free import sample_mean as sample_mean
from collapse_jax.metrics.model_free import sharpness as sharpness
from collapse_jax.metrics.text import band_log_probs as band_log_probs
from collapse_jax.metrics.text import divergences as divergences
from collapse_jax.metrics.text import diversity_metrics as diversity_metrics
from collapse_jax.metrics.text import forgotten_words as forgotten_words
from collapse_jax.metrics.text import generated_nats as generated_nats
from collapse_jax.metrics.text import log_loss_metric as log_loss_metric
