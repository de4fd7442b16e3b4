"""The dashboard at `/` of the admin port: pages for people. The only importer of Jinja2 is `pages`.

Theory of operation: `history` keeps an hour of what the metrics counted; `overview` makes a value of what
the gateway says of itself at one moment, and `verdict` its first line; `pages` writes HTML of it; `live`
sends the parts that have changed to browsers that listen; `endpoints` answers the requests. Whoever looks
needs no token, as with `/api/status`; whoever acts or reads a payload has shown it to `sessions`.
"""
