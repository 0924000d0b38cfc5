"""A contender's side of a benchmark: a process that does jobs when asked, a line of JSON each way.

Standard library only, since the peers' environments hold nothing of ours. Try a contender by hand:

    echo '{"job": "ingest", "data": "DATA", "target": "TARGET"}' | python -m benchmarks.peers.duckdb_floor
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any

Job = Callable[..., Mapping[str, Any]]


def serve(jobs: Mapping[str, Job]) -> None:
    """Say that the process is ready, then do the jobs that standard input asks for until it closes.

    A request is `{"job": name, **arguments}`, an answer what the job gives, or `{"error": traceback}`.
    """
    # Libraries print what they like; only answers may reach the harness.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(content: Mapping[str, Any]) -> None:
        answers.write(json.dumps(content) + "\n")
        answers.flush()

    say({"ready": True})
    for line in sys.stdin:
        request = json.loads(line)
        try:
            say(dict(jobs[request.pop("job")](**request)))
        except Exception:
            say({"error": traceback.format_exc()})
