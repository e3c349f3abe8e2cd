"""From a language model to a measured classifier (ULMFiT, Howard & Ruder 2018, sections 3.2 and 3.3).

`lm` adapts the language model to the task's text, `classifier` trains one member, `ensemble` averages members with
fitted temperatures, `evaluate` measures members, ensemble, tf-idf baseline and majority class once on the test split.
"""
