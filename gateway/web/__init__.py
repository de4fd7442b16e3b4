"""HTTP on a connection that is already there: the only importer of hypercorn, h2 and httptools.

`server` serves one connection over any trio stream: `http1` pulls, by itself; `connection` and `http2` stand
on Hypercorn's classes. `plain` accepts connections without TLS.
"""
