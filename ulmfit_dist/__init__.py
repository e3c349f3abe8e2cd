"""From a raw crawl to AWD-LSTM language models and ULMFiT text classifiers, on one machine or a Ray cluster."""

__version__ = "0.1.0"
