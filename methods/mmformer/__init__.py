"""mmFormer: a small transformer per modality and one across them; absent modalities are zeros."""
