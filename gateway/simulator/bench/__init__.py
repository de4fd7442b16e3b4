"""Meta's part at a rate: what `gateway bench` is made of.

`course` runs one measurement. `crew` starts the processes that send (`child`, each with a `load` over
`wire`s, of what `mix` makes); `receiver` is the target that counts; `figures` says what came of it.
"""
