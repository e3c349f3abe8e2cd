"""Model folders: config.json, model.safetensors, tokenizer/ and a README.md card, written whole and read with care."""
