"""``specinfer watch``: a service that answers the spectra of a night as they appear.

`loop` is the service; `folders` finds the files, `settle` says when one is complete,
`workers` answer them, `journal` remembers, `pairs` compares extractions of one exposure,
`delivery` posts, `lock` keeps a second service away, `heartbeat` and `status` tell how it is.
"""
