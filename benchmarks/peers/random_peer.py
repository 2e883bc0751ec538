"""The smallest peer: the default first, then uniform random configurations; recommends the luckiest
measurement."""

import random
import sys

from protocol import Cube, luckiest, serve


class RandomPeer:
    """Uniform random search, over a finite set where there is one."""

    def open(self, spec):
        """Begin a study."""
        self.spec, self.cube = spec, Cube(spec["space"])
        self.random = random.Random(spec["seed"])
        self.told = []
        return {"python": sys.version.split()[0]}

    def tell(self, configuration, measurements):
        """Take a run's measurements."""
        value = measurements[self.spec["objective"]]
        self.told.append((value if self.spec["minimize"] else -value, configuration))

    def ask(self):
        """Return the next configuration, and no parts of the time."""
        if not self.told and self.spec.get("default"):
            return self.spec["default"], {}
        if self.spec.get("choices"):
            return self.random.choice(self.spec["choices"]), {}
        return self.cube.uniform([self.random.random() for _ in self.spec["space"]]), {}

    def best(self):
        """Return the configuration with the best measurement."""
        return luckiest(self.told)


if __name__ == "__main__":
    serve(RandomPeer())
