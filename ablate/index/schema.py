"""The tables of the index and the views that people ask; docs/query.md describes the views.

Tables are in the schema `spool`, append-only, without keys, indexes or later DDL, and all that the
file has; what counts is decided in the views, which every connection makes for itself. `run` is the
number of an attempt, made from its name (`number_of`): joins of ten million rows by a number take a
fifth of what joins by names take. Numbers that are not finite are NULL. The metrics of `trials` are
those of done trials, so that an average over them is one over results; what a diverged one measured
before is in `epochs`, with its status.
"""

from __future__ import annotations

import hashlib
from typing import Final

VERSION: Final = 6  # raise with any change of the tables: an index of another one is remade

# source.epoch: the highest epoch in a metrics file up to that byte; seq: of the line before it.
# rewritten: an epoch that was written again in one attempt, and the first line since which it
# counts.
TABLES: Final = """
CREATE SCHEMA spool;
CREATE TABLE spool.version (number INTEGER);
CREATE TABLE spool.source (path VARCHAR, bytes BIGINT, epoch INTEGER, seq BIGINT);
CREATE TABLE spool.trial (
  key VARCHAR, dataset VARCHAR, variant VARCHAR, image_limit BIGINT, model VARCHAR, seed BIGINT,
  tricks VARCHAR[], label VARCHAR, batch_size BIGINT, lr DOUBLE, image_size BIGINT,
  planned INTEGER, numerics VARCHAR, teacher VARCHAR, definition VARCHAR);
CREATE TABLE spool.attempt (
  run BIGINT, key VARCHAR, attempt VARCHAR, started TIMESTAMP, host VARCHAR, continues VARCHAR);
CREATE TABLE spool.environment (
  run BIGINT, device VARCHAR, device_name VARCHAR, ablate VARCHAR, torch VARCHAR, python VARCHAR,
  cuda VARCHAR, shared_device BOOLEAN, profiled BOOLEAN);
CREATE TABLE spool.ending (
  run BIGINT, status VARCHAR, message VARCHAR, finished TIMESTAMP, epochs INTEGER,
  test_images BIGINT, parameters BIGINT, macs BIGINT, number_format VARCHAR);
CREATE TABLE spool.epoch (
  run BIGINT, seq BIGINT, epoch INTEGER, seconds DOUBLE, processor_seconds DOUBLE, steps BIGINT,
  images BIGINT);
CREATE TABLE spool.metric (run BIGINT, seq BIGINT, epoch INTEGER, metric VARCHAR, value DOUBLE);
CREATE TABLE spool.rewritten (run BIGINT, epoch INTEGER, since BIGINT);
CREATE TABLE spool.final (run BIGINT, metric VARCHAR, value DOUBLE);
CREATE TABLE spool.prediction (
  run BIGINT, id BIGINT, label BIGINT, scores FLOAT[], classes INTEGER[]);
CREATE TABLE spool.set_aside (path VARCHAR, byte BIGINT, line VARCHAR);
"""

NAMES: Final = (
    *("trial", "attempt", "environment", "ending", "epoch", "metric", "rewritten", "final"),
    *("prediction", "set_aside"),
)

# An epoch written twice in one attempt counts once, as last written. That never happens in a
# training of today, so it is looked up in a table that is mostly empty, and not by a window over
# every row, which took a minute for ten million.
_COUNTING: Final = """
    counting AS (  -- the attempt that counts: the first that is done, else the latest
      SELECT
        key,
        coalesce(arg_min(run, attempt) FILTER (status = 'done'), arg_max(run, attempt)) AS run
      FROM spool.attempt LEFT JOIN spool.ending USING (run) GROUP BY key)"""
_COUNTED: Final = f"""{_COUNTING},
    counted AS (
      SELECT
        run, counting.key AS key, dataset, model, seed, tricks, label,
        coalesce(status, 'unfinished') AS status
      FROM counting
      LEFT JOIN spool.ending AS ending USING (run)
      LEFT JOIN (SELECT DISTINCT ON (key) * FROM spool.trial) AS trial USING (key))"""  # noqa: S608 - ours

# Made anew in each connection: what a question means is not read from a file that others wrote.
VIEWS: Final = f"""
CREATE TEMP VIEW epochs AS
  WITH {_COUNTED},
    written AS (
      SELECT run, seq, epoch, metric, value FROM spool.metric
      UNION ALL SELECT run, seq, epoch, 'seconds', seconds FROM spool.epoch
      UNION ALL SELECT run, seq, epoch, 'processor_seconds', processor_seconds FROM spool.epoch
        WHERE processor_seconds IS NOT NULL)
  SELECT key, dataset, model, seed, tricks, label, epoch, metric, value, status
  FROM written
  JOIN counted USING (run)
  ANTI JOIN spool.rewritten AS again
    ON again.run = written.run AND again.epoch = written.epoch AND written.seq < again.since;
CREATE TEMP VIEW predictions AS
  WITH {_COUNTED},
    best AS (
      SELECT *, list_position(scores, list_max(scores)) AS place FROM spool.prediction)
  SELECT
    key, dataset, model, seed, tricks, counted.label AS trial, id, best.label AS label,
    coalesce(classes[place], place - 1) AS predicted, predicted = best.label AS correct,
    scores, classes
  FROM best JOIN counted USING (run);
CREATE TEMP VIEW trials AS
  WITH {_COUNTING},
    once AS (SELECT DISTINCT ON (key) * FROM spool.trial),
    tried AS (SELECT DISTINCT ON (run) * FROM spool.attempt),
    timing AS (
      SELECT
        written.run AS run, count(DISTINCT written.epoch) AS epochs, sum(seconds) AS seconds,
        median(seconds) FILTER (written.epoch > 1) AS epoch_seconds,
        median(processor_seconds / nullif(seconds, 0)) FILTER (written.epoch > 1)
          AS processor_share,
        CASE WHEN min(images) = max(images) THEN max(images) END AS images
      FROM spool.epoch AS written
      ANTI JOIN spool.rewritten AS again
        ON again.run = written.run AND again.epoch = written.epoch AND written.seq < again.since
      GROUP BY written.run),
    metrics AS (  -- a trial that diverged or failed has a last epoch, and no result
      SELECT run, map(list(metric), list(value)) AS metrics
      FROM spool.final JOIN spool.ending AS ending USING (run)
      WHERE ending.status = 'done' GROUP BY run)
  SELECT
    key, label, dataset, model, seed, tricks,
    CASE WHEN counting.run IS NULL THEN 'new' ELSE coalesce(status, 'unfinished') END AS status,
    metrics['top1'] AS top1, metrics['top5'] AS top5, metrics['loss'] AS loss, metrics,
    coalesce(ending.epochs, timing.epochs, 0) AS epochs, planned AS planned_epochs,
    epoch_seconds, images / nullif(epoch_seconds, 0) AS images_per_second, seconds,
    parameters, macs, test_images, batch_size, lr, image_size, variant, image_limit, numerics,
    number_format, device, device_name, host, shared_device, processor_share, profiled, ablate,
    torch, python, cuda, started, finished, attempt, continues, teacher, message, definition
  FROM once
  LEFT JOIN counting USING (key)
  LEFT JOIN (SELECT * EXCLUDE (key) FROM tried) AS tried USING (run)
  LEFT JOIN spool.ending AS ending USING (run)
  LEFT JOIN timing USING (run)
  LEFT JOIN metrics USING (run)
  LEFT JOIN (SELECT DISTINCT ON (run) * FROM spool.environment) AS environment USING (run);
"""  # noqa: S608 - ours


def number_of(key: str, attempt: str) -> int:
    """The attempt's number in the index, 63 bits of a hash: the same whoever makes it and when."""
    digest = hashlib.blake2b(f"{key}/{attempt}".encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
