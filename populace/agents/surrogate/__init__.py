"""Surrogates: a small model fitted to the model's own answers, which answers in its place while an audit bears it out.

`policy` says how, `facts` reads what asks are told of, `table` and `logit` are what can be fitted, `audit` is the
sequential test, `surrogate` is what is known of the asks of one type and purpose. All pure: nothing here asks.
"""
