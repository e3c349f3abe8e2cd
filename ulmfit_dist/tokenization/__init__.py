"""Text to token ids and back: special tokens, versioned rule sets, words, SentencePiece, vocabularies, recipes."""
