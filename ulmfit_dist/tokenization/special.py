"""The special tokens of `ulmfit-1`, in id order; the same ids in each of its vocabularies."""

from __future__ import annotations

XXUNK = "xxunk"  # a word that the vocabulary does not hold
XXPAD = "xxpad"  # no token: fills the unused cells of a batch
XXBOS = "xxbos"  # a document begins
XXEOS = "xxeos"  # reserved: no rule makes it
XXFLD = "xxfld"  # a text field begins; its number follows
XXMAJ = "xxmaj"  # the next word begins with a capital
XXUP = "xxup"  # the next word is in capitals
XXREP = "xxrep"  # a repeated character: the count and the character follow
XXWREP = "xxwrep"  # a repeated word: the count and the word follow
XXNL = "xxnl"  # a run of new lines

SPECIALS = (XXUNK, XXPAD, XXBOS, XXEOS, XXFLD, XXMAJ, XXUP, XXREP, XXWREP, XXNL)
UNK_ID, PAD_ID, BOS_ID, EOS_ID, FLD_ID = range(5)
"""The ids of both units; a SentencePiece model holds no further special token, since its pieces keep their case."""
