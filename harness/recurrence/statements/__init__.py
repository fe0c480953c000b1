"""Code for engines of arrays: a step and its reverse as statements that write into slots.

A ``Lowering`` turns the graph of a step into nodes that one call of the engine computes. A
``Schedule`` orders them and gives each result a slot: where it is wanted, or where a value lies
that nothing reads any more, or a free one. ``write`` joins the functions to a Python module. An
engine adds its operations and their ``Spelling``.
"""
