"""What the trained models of the tiny family share: the folder of their weights and the ids of their special tokens.

They are trained by examples/tiny_models.
"""

from __future__ import annotations

from pathlib import Path

WEIGHTS_FOLDER = Path(__file__).parent / "weights"
"""One Hugging Face model folder per member, and that of the block draft."""
DFLASH = "dflash"
"""Folder of the block draft of the target."""

END, PAD, MASK, IM_START, IM_END = "<|endoftext|>", "<|pad|>", "<|mask|>", "<|im_start|>", "<|im_end|>"
SPECIALS = (END, PAD, MASK, IM_START, IM_END)
BPE_TOKENS = 462
"""256 bytes and 206 merges: with the specials 467 tokens, below the padded vocabulary with room to spare."""
END_ID, PAD_ID, MASK_ID, IM_START_ID, IM_END_ID = range(BPE_TOKENS, BPE_TOKENS + len(SPECIALS))
VOCAB_SIZE = 512
"""Rows of the embedding: the vocabulary padded to a multiple of 256, which k-quants need."""
