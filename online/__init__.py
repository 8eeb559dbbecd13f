"""Online experiments: effects of arms, sequential tests, and rollouts."""

if __name__ != "evalkit.online":
    raise ImportError("This folder installs as evalkit.online: import evalkit.online, not online.")
