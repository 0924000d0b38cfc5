"""The gate: what is staged is held to Great Expectations suites before it is published."""

import os

# Great Expectations reports its use to its maker unless told not to, which it reads when it is imported.
os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
