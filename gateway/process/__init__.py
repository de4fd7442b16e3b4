"""The running gateway, as a process or as several.

`service` is one process from start to end. It holds an `assembly`, whose `generation` a reload replaces. With
`listen.workers` a `supervisor` stands above a `fleet` of processes, each a `worker`; they talk by `channel`,
and `gathering` makes one answer of theirs, by way of their `spools`. `edge`, `observing` and `exposition` are
what is told of it all, and `admin_port` is where.
"""
