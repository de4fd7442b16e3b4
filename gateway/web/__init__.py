"""HTTP on a connection that is already there: the only importer of hypercorn, h11 and h2.

`server` serves one connection over any trio stream, `plain` accepts connections without TLS.
"""
