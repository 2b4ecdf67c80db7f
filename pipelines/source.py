"""Stage source: check and hash the images, judge duplicates, and plan the shards."""

import time
from functools import partial

from opendet.build import Build
from opendet.entry import stage_main
from opendet.intake import check_stage, link_drawn_images, plan


def main(build: Build) -> None:
    begin = time.monotonic()
    config = build.config.source
    fingerprint = build.fingerprint("source", config)
    checks, work = build.work("source-checks", fingerprint), build.work("source", fingerprint)
    stage, tasks = check_stage(
        build.card, config, root=build.root, checks=checks, fingerprint=fingerprint
    )
    checked = build.make(stage, tasks, checks)
    planned = plan(build.card, config, checked, checks, work)
    add = partial(link_drawn_images, checked, checks)
    build.publish(stage, planned, begin=begin, add=add)


if __name__ == "__main__":
    stage_main(main, __doc__)
