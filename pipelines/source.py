"""Stage source: check and hash the images, judge duplicates, and plan the shards."""

import time
from functools import partial

from opendet.build import Build
from opendet.entry import stage_main
from opendet.flow import run
from opendet.intake import MODULES, check_stage, link_drawn_images, plan


def main(build: Build) -> None:
    begin = time.monotonic()
    config = build.config.source
    fingerprint = build.fingerprint("source", config, modules=MODULES)
    checks, work = build.work("source-checks", fingerprint), build.work("source", fingerprint)
    stage, tasks = check_stage(build.card, config, root=build.root, fingerprint=fingerprint)
    with build.ray_for(tasks, checks):
        checked = run(stage, tasks, checks, actors=build.actors)
    planned = plan(build.card, config, checked, checks, work)
    add = partial(link_drawn_images, checked, checks)
    build.publish(stage, planned, begin=begin, add=add)


if __name__ == "__main__":
    stage_main(main, __doc__)
