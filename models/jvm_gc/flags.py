"""A configuration as flags of HotSpot."""

from collections.abc import Mapping

# C2 compiles for longer than a short window lasts; the performance file is written from inside pauses.
FIXED = ["-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-XX:+AlwaysPreTouch"]

_SWITCH = {"serial": "-XX:+UseSerialGC", "parallel": "-XX:+UseParallelGC", "g1": "-XX:+UseG1GC"}
_FLAG = {
    "young_mb": "-Xmn{}m",
    "survivor_ratio": "-XX:SurvivorRatio={}",
    "tenuring": "-XX:MaxTenuringThreshold={}",
    "pause_goal_ms": "-XX:MaxGCPauseMillis={}",
}
_SIZES = ("young_mb", "survivor_ratio", "tenuring")
APPLIES = {"serial": _SIZES, "parallel": _SIZES, "g1": ("pause_goal_ms",)}


def collector_flags(configuration: Mapping[str, object], heap_mb: int) -> list[str]:
    """The flags of HotSpot that a configuration stands for; ``collector`` is "serial" where it is not named.

    Parameters that do not apply to the collector stand for no flag. Raises ValueError for an unknown
    parameter or collector, and for a young generation that fills the heap.
    """
    unknown = [name for name in configuration if name != "collector" and name not in _FLAG]
    if unknown:
        raise ValueError(f"unknown parameter {unknown[0]!r}; known are collector, {', '.join(_FLAG)}.")
    collector = configuration.get("collector", "serial")
    if collector not in _SWITCH:
        raise ValueError(f"unknown collector {collector!r}; known are {', '.join(_SWITCH)}.")
    applying = {name: configuration[name] for name in APPLIES[str(collector)] if name in configuration}
    if float(str(applying.get("young_mb", 0))) >= heap_mb:
        raise ValueError(f"young_mb must be below the heap's {heap_mb} MB, got {applying['young_mb']}.")
    named = [_FLAG[name].format(value) for name, value in applying.items()]
    # Parallel moves its own generation sizes unless told to keep the ones it was given.
    fixed = ["-XX:-UseAdaptiveSizePolicy"] if collector == "parallel" and named else []
    return [_SWITCH[str(collector)], *fixed, *named]
