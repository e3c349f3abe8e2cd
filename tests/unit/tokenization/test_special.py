"""The ids that DESIGN section 8 fixes."""

from __future__ import annotations

from ulmfit_dist.tokenization import special


def test_ids_zero_to_nine():
    assert " ".join(special.SPECIALS) == "xxunk xxpad xxbos xxeos xxfld xxmaj xxup xxrep xxwrep xxnl"
    ids = (special.UNK_ID, special.PAD_ID, special.BOS_ID, special.EOS_ID, special.FLD_ID)
    assert [special.SPECIALS[index] for index in ids] == ["xxunk", "xxpad", "xxbos", "xxeos", "xxfld"]
