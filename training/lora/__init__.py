"""A user's own LoRA: DreamBooth (Ruiz et al. 2023, arXiv:2208.12242) with prior preservation, through diffusers and peft.

`settings` says what is trained, `pictures` reads what it is trained on, `parts` holds the base model's parts and how a
prompt conditions them, `loop` trains and continues after a stop, `checkpoint` keeps the state, `result` writes the
LoRA with its card.
"""
